"""Plots of a share by method: over n, and over what a problem costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from evals.report.axes import GENERAL, SHORT, errorbars, finish
from evals.report.look import look
from evals.report.stats import Estimate
from evals.report.summary import DataSummary
from evals.report.tally import Tally

SIZE = (5.2, 3.4)
INTERVALS = "Bars are 95 % intervals, clustered by problem."
FRONT = "The grey line joins what no other setting beats at the same or a lower cost."


def by_method(tallies: Sequence[Tally]) -> dict[str, list[Tally]]:
    """Each method's tallies by n, methods in their order."""
    methods = dict.fromkeys(one.arm.method for one in tallies)
    ordered = sorted(tallies, key=lambda one: (one.arm.n, one.arm.temperature))
    return {method: [one for one in ordered if one.arm.method == method] for method in methods}


def over_n(found: DataSummary, share: Callable[[Tally], Estimate | None], label: str) -> Figure | None:
    """A line a method over n, dodged so that the intervals of one n stand side by side; None where nothing is known."""
    points = {one.arm: point for one in found.tallies if (point := share(one)) is not None}
    if not points:
        return None
    figure = Figure(figsize=SIZE)
    axes = figure.add_subplot()
    methods = by_method([one for one in found.tallies if one.arm in points])
    for place, (method, own) in enumerate(methods.items()):
        dodge = 2.0 ** (0.09 * (place - (len(methods) - 1) / 2) * min(1.0, 6 / len(methods)))
        errorbars(axes, [one.arm.n * dodge for one in own], [points[one.arm] for one in own], method)
    sizes = sorted({arm.n for arm in points})
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(_apart(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(GENERAL)
    axes.set_xlim(sizes[0] * 2**-0.6, sizes[-1] * 2**0.6)
    axes.set_xlabel("n, candidates a step")
    finish(axes, label)
    return figure


def _apart(sizes: Sequence[int]) -> list[int]:
    """Those of rising sizes that leave room for each other's labels on a logarithmic axis."""
    least = (sizes[-1] / sizes[0]) ** 0.09
    kept = list(sizes[:1])
    for size in sizes[1:]:
        if size >= kept[-1] * least:
            kept.append(size)
    return kept


def over_cost(found: DataSummary, cost: str, label: str) -> Figure | None:
    """Accuracy over the mean cost of a problem, a line a method, and the Pareto front; None where no cost is known.

    A method is hollow where all its seconds were measured under load.
    """
    costs = {one.arm: spent for one in found.tallies if (spent := one.cost(cost))}
    if not costs:
        return None
    figure = Figure(figsize=SIZE)
    axes = figure.add_subplot()
    best = [found.tallies[place] for place in found.fronts[cost] if found.tallies[place].arm in costs]
    if len(best) > 1:
        xs, ys = [costs[one.arm] for one in best], [one.accuracy.value for one in best]
        axes.step(xs, ys, where="post", color="#BBBBBB", linewidth=5, alpha=0.6, zorder=1, solid_capstyle="round")
    for method, own in by_method([one for one in found.tallies if one.arm in costs]).items():
        xs = [costs[one.arm] for one in own]
        hollow = cost == "seconds" and all(one.mark for one in own)
        errorbars(axes, xs, [one.accuracy for one in own], method, hollow=hollow)
    _scale(axes, list(costs.values()))
    axes.set_xlabel(label)
    finish(axes, "accuracy", note="numbers at the points: n")
    _annotate(figure, axes, [(f"{one.arm.n}", costs[one.arm], one) for one in found.tallies if one.arm in costs])
    return figure


def _annotate(figure: Figure, axes: Axes, labels: Sequence[tuple[str, float, Tally]]) -> None:
    """n beside each point at which there is room: where no other point is, or else no other label.

    Lengths are in points; a digit of 7 points is about 4.5 wide and 7 high, a marker 6 of both.
    """
    axes.get_xlim()  # matplotlib settles the limits when they are asked for
    inches = axes.transData.transform([(x, one.accuracy.value) for _, x, one in labels]) / figure.dpi
    markers = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in 72 * inches]
    placed: list[Bbox] = []
    for (text, cost, one), marker in zip(labels, markers, strict=True):
        width = 4.5 * len(text)
        places = [(dx, dy) for dx in (5, -5 - width, -width / 2) for dy in (4, -10, -3, 8, -14)]
        boxes = [Bbox.from_bounds(marker.x0 + 3 + dx, marker.y0 + 3 + dy, width, 7) for dx, dy in places]
        free = [k for k, box in enumerate(boxes) if not box.count_overlaps([*placed, marker])]
        if not free:
            continue
        best = min(free, key=lambda k: boxes[k].count_overlaps(markers))
        placed.append(boxes[best])
        told = axes.annotate(
            text,
            (cost, one.accuracy.value),
            places[best],
            textcoords="offset points",
            fontsize=7,
            color=look(one.arm.method).colour,
            zorder=5,
        )
        told.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _scale(axes: Axes, costs: Sequence[float]) -> None:
    """Logarithmic where costs differ much."""
    if max(costs) > 4 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(SHORT)
    axes.margins(x=0.08)
