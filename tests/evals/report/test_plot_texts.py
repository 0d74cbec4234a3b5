"""No two texts of a plot lie on each other: ticks, labels, legends, numbers at points; whatever a run has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from evals.report.arms import by_arm
from evals.report.curves import over_cost
from evals.report.drawing import draw
from evals.report.plots import every
from evals.report.summary import DataSummary, summarise
from gsi_node.types import Plain
from tests.evals.synthetic import SKILL, campaign, typed

METHODS = tuple(SKILL)
NS = (1, 2, 4, 8, 16, 64)


def priced(rows: list[Plain], rise: float) -> list[Plain]:
    """FLOPs and seconds multiplied by rise ** n."""
    for row in rows:
        factor = rise ** row["n"]
        row["flops"] = {role: value * factor for role, value in row["flops"].items()}
        row["seconds"] = row["seconds"] * factor
    return rows


RUNS: dict[str, Callable[[], list[Plain]]] = {
    "many": lambda: list(campaign(4, METHODS, NS, (0,), keep=False)),
    "one": lambda: list(campaign(4, ("gsi",), (4,), (0,))),
    "alike in cost": lambda: priced(list(campaign(4, METHODS[:3], (1, 4), (0,), keep=False)), 1.0001),
    "far apart in cost": lambda: priced(list(campaign(4, METHODS[:3], (1, 4, 16), (0,), keep=False)), 4.0),
    "n side by side": lambda: list(campaign(3, METHODS[:2], (14, 15, 16, 17, 64, 100, 128), (0,), keep=False)),
}


def summary_of(name: str) -> DataSummary:
    [found] = summarise(*by_arm(typed(RUNS[name]()))).sets
    return found


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is drawn; of ticks those within the limits of their axis."""
    for axes in figure.axes:
        yield from axes.texts
        yield from (axes.xaxis.label, axes.yaxis.label)
        if (legend := axes.get_legend()) is not None:
            yield from (*legend.get_texts(), legend.get_title())
        yield from ticks(axes)


def ticks(axes: Axes) -> Iterator[Text]:
    for which, axis in enumerate((axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for label in axis.get_majorticklabels():
            if low <= label.get_position()[which] <= high:
                yield label


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """The texts of which one lies on another."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure) if text.get_text().strip()]
    inner = [(told, Bbox.from_extents(box.x0 + 1, box.y0 + 1, box.x1 - 1, box.y1 - 1)) for told, box in boxes]
    return [(one, other) for (one, a), (other, b) in combinations(inner, 2) if a.overlaps(b)]


@pytest.mark.parametrize("name", RUNS)
def test_no_text_lies_on_another(name: str) -> None:
    found = summary_of(name)
    drawn = {plot.name: figure for plot in every() if (figure := plot.draw(found)) is not None}
    assert len(drawn) >= 6
    assert {plot: pairs for plot, figure in drawn.items() if (pairs := overlapping(figure))} == {}


def test_texts_that_lie_on_each_other_are_found() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xticks([0, 0.01, 1], ["one", "other", "far"])
    assert overlapping(figure) == [("one", "other")]


def test_every_n_stands_at_its_point_where_there_is_room() -> None:
    drawn = over_cost(summary_of("far apart in cost"), "flops", "FLOPs")
    assert drawn is not None
    told = [text.get_text() for text in drawn.axes[0].texts]
    assert sorted(set(told), key=int) == ["1", "4", "16"] and len(told) >= 7


def test_each_plot_is_also_a_pdf(tmp_path: Path) -> None:
    summary = summarise(*by_arm(typed(RUNS["one"]())))
    drawn = draw(summary, tmp_path)
    for plot in drawn:
        data = plot.png.with_suffix(".pdf").read_bytes()
        assert data.startswith(b"%PDF-") and b"/CreationDate" not in data
