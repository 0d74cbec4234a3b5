"""Accuracy over the wall seconds of a problem."""

from __future__ import annotations

from evals.report.curves import FRONT, INTERVALS, over_cost
from evals.report.plots import Plot
from evals.report.summary import DataSummary


def caption(found: DataSummary) -> str:
    """Hollow points are explained where there may be some."""
    busy = any(one.mark for one in found.tallies)
    load = " Hollow points were measured under load and are no latencies." if busy else ""
    return f"{INTERVALS} {FRONT}{load}"


PLOT = Plot(
    name="seconds",
    title="Accuracy against seconds",
    place=30,
    draw=lambda found: over_cost(found, "seconds", "seconds a problem"),
    caption=caption,
)
