"""What several plots draw alike: a method's points with their intervals, rows of labelled things, axes and legends."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evals.report.cells import short
from evals.report.look import look
from evals.report.markdown import printable
from evals.report.stats import Estimate

SHORT = FuncFormatter(lambda value, _: short(value))
GENERAL = FuncFormatter(lambda value, _: f"{value:g}")


def errorbars(
    axes: Axes, xs: Sequence[float], points: Sequence[Estimate], method: str, *, hollow: bool = False
) -> None:
    """A line through a method's points, each with its interval."""
    seen = look(method)
    axes.errorbar(
        xs,
        [point.value for point in points],
        yerr=[
            [max(0.0, point.value - point.low) for point in points],
            [max(0.0, point.high - point.value) for point in points],
        ],
        label=printable(method),
        capsize=2.5,
        elinewidth=1,
        zorder=3,
        color=seen.colour,
        marker=seen.marker,
        linestyle=seen.line,
        markersize=6,
        linewidth=1.4,
        markerfacecolor="white" if hollow else seen.colour,
    )


def finish(axes: Axes, label: str, note: str | None = None) -> None:
    """The axis of a share, and the legend beside the plot with a note above it."""
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(GENERAL)
    low, high = axes.get_ylim()
    axes.set_ylim(max(-0.02, low), min(1.02, high))
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=2.4, title=note)
    legend.get_title().set_fontsize(7)


def tall(rows: int, width: float = 5.2) -> Figure:
    """A figure for as many rows of labelled things."""
    return Figure(figsize=(width, 0.9 + 0.21 * rows))


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names beside the rows, the first on top."""
    axes.set_yticks(range(len(names)), [printable(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
