"""Plots of a share by method: over n, and over what a problem costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

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
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(GENERAL)
    axes.set_xlim(sizes[0] * 2**-0.6, sizes[-1] * 2**0.6)
    axes.set_xlabel("n, candidates a step")
    finish(axes, label)
    return figure


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
        for one, x in zip(own, xs, strict=True):
            _annotate(axes, one, x)
    _scale(axes, list(costs.values()))
    axes.set_xlabel(label)
    finish(axes, "accuracy", note="numbers at the points: n")
    return figure


def _annotate(axes: Axes, one: Tally, x: float) -> None:
    """n beside a point."""
    text = axes.annotate(
        f"{one.arm.n}",
        (x, one.accuracy.value),
        (5, 4),
        textcoords="offset points",
        fontsize=7,
        color=look(one.arm.method).colour,
        zorder=5,
    )
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])


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
