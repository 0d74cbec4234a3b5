"""Accuracy over the wall seconds of a problem."""

from __future__ import annotations

from matplotlib.figure import Figure

from evals.report.curves import FRONT, INTERVALS, over_cost
from evals.report.plots import Plot
from evals.report.summary import DataSummary
from evals.report.tally import Tally


def cost(one: Tally) -> float | None:
    """Of a problem, on average."""
    return None if one.seconds is None else one.seconds.total.value


def under_load(one: Tally) -> bool:
    """Whether its seconds are no latency."""
    return one.seconds is not None and not one.seconds.latency


def draw(found: DataSummary) -> Figure | None:
    """A method that was measured under load has hollow points."""
    return over_cost(found, cost, found.fronts["seconds"], "seconds a problem", hollow=under_load)


def caption(found: DataSummary) -> str:
    """Hollow points are explained where there may be some."""
    told = f"{INTERVALS} {FRONT}"
    hollow = any(map(under_load, found.tallies))
    return told + (" Hollow points were measured under load and are no latencies." if hollow else "")


PLOT = Plot(name="seconds", title="Accuracy against seconds", place=30, draw=draw, caption=caption)
