"""Quantiles of ess / n and of log w̄ by arm."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.report.axes import label_rows, tall
from evals.report.look import BASE
from evals.report.plots import Plot
from evals.report.stats import Quantiles
from evals.report.summary import DataSummary

PANELS = {"ess_share": "ess / n", "log_mean_weight": "log mean weight, nats"}
CAPTION = "Of the batches that were put to the test: boxes are quartiles, whiskers the 5 and 95 % quantiles."


def draw(found: DataSummary) -> Figure | None:
    """A panel each, a row an arm; None where no batch was weighed."""
    known = [one for one in found.tallies if PANELS.keys() & one.weights.keys()]
    if not known:
        return None
    figure = tall(len(known), 7.0)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08})
    for axes, (name, label) in zip((left, right), PANELS.items(), strict=True):
        _boxes(axes, {place: one.weights[name] for place, one in enumerate(known) if name in one.weights})
        axes.set_xlabel(label)
    left.set_xlim(0, 1.02)
    label_rows(left, [one.arm.label for one in known])
    right.tick_params(left=False)
    return figure


def _boxes(axes: Axes, spread: dict[int, Quantiles]) -> None:
    """A box at each place."""
    axes.bxp(
        [{"med": q.p50, "q1": q.p25, "q3": q.p75, "whislo": q.p5, "whishi": q.p95} for q in spread.values()],
        positions=list(spread),
        orientation="horizontal",
        showfliers=False,
        widths=0.55,
        patch_artist=True,
        boxprops={"facecolor": "#CFE5F3", "edgecolor": BASE},
        medianprops={"color": "#D55E00", "linewidth": 1.6},
        whiskerprops={"color": BASE},
        capprops={"color": BASE},
    )


PLOT = Plot("weights", "Effective sample size and mean weight", 70, draw, lambda found: CAPTION, wide=True)
