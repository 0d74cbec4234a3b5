"""Accuracy over n."""

from evals.report.curves import INTERVALS, over_n
from evals.report.plots import Plot

PLOT = Plot(
    name="accuracy",
    title="Accuracy against n",
    place=10,
    draw=lambda found: over_n(found, lambda one: one.accuracy, "accuracy"),
    caption=lambda found: INTERVALS,
)
