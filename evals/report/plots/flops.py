"""Accuracy over the forward FLOPs of a problem."""

from __future__ import annotations

from evals.report.curves import FRONT, INTERVALS, over_cost
from evals.report.plots import Plot
from evals.report.tally import Tally


def cost(one: Tally) -> float | None:
    """Of a problem, on average."""
    return None if one.flops is None else one.flops.total.value


PLOT = Plot(
    name="flops",
    title="Accuracy against FLOPs",
    place=20,
    draw=lambda found: over_cost(found, cost, found.fronts["flops"], "forward FLOPs a problem"),
    caption=lambda found: f"{INTERVALS} {FRONT}",
)
