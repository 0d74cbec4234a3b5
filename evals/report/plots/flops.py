"""Accuracy over the forward FLOPs of a problem."""

from evals.report.curves import FRONT, INTERVALS, over_cost
from evals.report.plots import Plot

PLOT = Plot(
    name="flops",
    title="Accuracy against FLOPs",
    place=20,
    draw=lambda found: over_cost(found, "flops", "forward FLOPs a problem"),
    caption=lambda found: f"{INTERVALS} {FRONT}",
)
