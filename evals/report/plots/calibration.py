"""Share of good ones over the mean reward of a bin, one line a source, above the counts."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evals.report.axes import SHORT
from evals.report.curves import INTERVALS
from evals.report.look import BASE, DRAFT, OTHER
from evals.report.markdown import printable
from evals.report.plots import Plot
from evals.report.reliability import Curve
from evals.report.summary import DataSummary

SOURCES = {"draft": (DRAFT, "X"), "base": (BASE, "o")}


def draw(found: DataSummary) -> Figure | None:
    """None where no reward was recorded."""
    return drawn(found.curves) if found.curves else None


def drawn(curves: Sequence[Curve]) -> Figure:
    """The figure of some curves."""
    figure = Figure(figsize=(4.6, 4.4))
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.2, 1), "hspace": 0.08})
    low = min(one.bins[0].low for one in curves)
    high = max(one.bins[-1].high for one in curves)
    top.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="calibrated")
    width = (high - low) / 10 / (len(curves) + 0.4)
    for place, one in enumerate(curves):
        colour, marker = SOURCES.get(one.source, (OTHER.colour, "d"))
        _line(top, one, colour, marker)
        shift = (place - (len(curves) - 1) / 2) * width
        middles = [(b.low + b.high) / 2 + shift for b in one.bins]
        bottom.bar(middles, [b.count for b in one.bins], width=width, color=colour)
    top.set_ylabel("share good")
    top.set_ylim(-0.03, 1.03)
    bottom.set_xlim(low - 0.02, high + 0.02)
    bottom.set_xlabel("reward")
    bottom.set_ylabel("count")
    bottom.yaxis.set_major_locator(MaxNLocator(3))
    bottom.yaxis.set_major_formatter(SHORT)
    top.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def _line(axes: Axes, one: Curve, colour: str, marker: str) -> None:
    """The bins of one source with their intervals."""
    area = "" if one.auroc is None else f", AUROC {one.auroc:.3f}"
    shares = [b.good for b in one.bins]
    axes.errorbar(
        [b.mean_reward for b in one.bins],
        [share.value for share in shares],
        yerr=[[share.value - share.low for share in shares], [share.high - share.value for share in shares]],
        color=colour,
        marker=marker,
        capsize=2.5,
        elinewidth=1,
        linewidth=1.4,
        label=f"{printable(one.source)}: {one.count:,} {one.kind}\nECE {one.ece:.3f}{area}",
    )


def caption(found: DataSummary) -> str:
    """What the rewards are held against."""
    answers = any(one.kind == "answers" for one in found.curves)
    against = "the answer's correctness (reward of the last step)" if answers else "the exact label of each step"
    return f"The reward against {against}; {INTERVALS[0].lower()}{INTERVALS[1:]} Below: how many lie in each bin."


PLOT = Plot("calibration", "Calibration of the reward", 50, draw, caption)
