"""Each paired difference of accuracy with its interval, in percentage points."""

from __future__ import annotations

from matplotlib.figure import Figure

from evals.report.axes import label_rows, tall
from evals.report.look import BASE
from evals.report.plots import Plot
from evals.report.summary import DataSummary

MOST_ROWS = 60
CAPTION = "First minus second on common problems and seeds, with paired 95 % intervals. Filled: p (Holm) < 0.05."


def draw(found: DataSummary) -> Figure | None:
    """The first MOST_ROWS of them; None where nothing was compared."""
    if not found.comparisons:
        return None
    shown = found.comparisons[:MOST_ROWS]
    figure = tall(len(shown))
    axes = figure.add_subplot()
    axes.axvline(0, color="#666666", linewidth=0.9, zorder=1)
    for place, one in enumerate(shown):
        value, low, high = (100 * number for number in (one.difference.value, one.difference.low, one.difference.high))
        fill = BASE if one.p_holm < 0.05 else "white"
        axes.plot([low, high], [place, place], color=BASE, linewidth=1.3, zorder=2)
        axes.plot(value, place, "o", color=BASE, markersize=5, markerfacecolor=fill, zorder=3)
    label_rows(axes, [one.label for one in shown])
    total = len(found.comparisons)
    cut = f" ({len(shown)} of {total}; the table has all)" if len(shown) < total else ""
    axes.set_xlabel(f"difference of accuracy, percentage points{cut}")
    return figure


PLOT = Plot("differences", "Paired differences of accuracy", 60, draw, lambda found: CAPTION, wide=True)
