"""Tokens, FLOPs and seconds a problem, stacked by model."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evals.report.axes import SHORT, label_rows, tall
from evals.report.look import BASE, DRAFT, REST, REWARD, SCORED
from evals.report.plots import Plot
from evals.report.summary import DataSummary
from evals.report.tally import Tally

FILLS = {
    "draft": DRAFT,
    "draft generated": DRAFT,
    "base": BASE,
    "base generated": BASE,
    "base scored": SCORED,
    "reward": REWARD,
    "reward scored": REWARD,
    "rest": REST,
}
"""Of the parts, in the order they are stacked in."""


def draw(found: DataSummary) -> Figure | None:
    """A panel each, a row an arm; None where no row was solved."""
    tallies = found.tallies
    if not any(one.tokens or one.seconds for one in tallies):
        return None
    figure = tall(len(tallies) + 1, 9.0)
    tokens, flops, seconds = figure.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.1})
    for place, one in enumerate(tallies):
        _stack(tokens, place, _token_parts(one))
        _stack(flops, place, one.flops.parts if one.flops else {})
        if one.seconds:
            _stack(seconds, place, one.seconds.parts)
            seconds.plot([one.seconds.total.value] * 2, [place - 0.36, place + 0.36], color="black", linewidth=1.4)
    for axes, label in ((tokens, "tokens"), (flops, "forward FLOPs"), (seconds, "seconds")):
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(SHORT)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left=0)
    label_rows(tokens, [one.arm.label + one.mark for one in tallies])
    for axes in (flops, seconds):
        axes.tick_params(left=False)
    for axes in (tokens, seconds):
        handles, texts = axes.get_legend_handles_labels()
        unique = dict(zip(texts, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8)
    return figure


def _token_parts(one: Tally) -> dict[str, float]:
    parts = {f"{role} generated": spent.generated for role, spent in one.tokens.items()}
    parts |= {f"{role} scored": spent.scored for role, spent in one.tokens.items()}
    return parts


def _stack(axes: Axes, place: int, parts: Mapping[str, float | None]) -> None:
    """The parts that FILLS knows, side by side."""
    left = 0.0
    for name, colour in FILLS.items():
        if (value := parts.get(name) or 0.0) > 0:
            axes.barh(place, value, left=left, height=0.72, color=colour, label=name)
            left += value


def caption(found: DataSummary) -> str:
    """What the black marks and daggers are."""
    busy = any(one.mark for one in found.tallies)
    return (
        "Means over problems: tokens generated and scored, forward FLOPs, seconds. Black: wall seconds; the base "
        f"scores while the reward judges, so a bar may reach beyond.{' †: measured under load.' if busy else ''}"
    )


PLOT = Plot("costs", "What a problem costs", 80, draw, caption, wide=True)
