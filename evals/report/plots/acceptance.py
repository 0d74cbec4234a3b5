"""The share of accepted steps over n."""

from evals.report.curves import INTERVALS, over_n
from evals.report.plots import Plot

PLOT = Plot(
    name="acceptance",
    title="Acceptance rate",
    place=40,
    draw=lambda found: over_n(found, lambda one: one.acceptance, "share of steps accepted"),
    caption=lambda found: INTERVALS,
)
