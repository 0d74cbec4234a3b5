"""The plots of a report, drawn from its summary alone: `draw(summary, folder)` writes each as PNG and SVG.

Colours are Okabe and Ito's, which the common colour-blindnesses tell apart; markers repeat what colours say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from evals.report.markdown import printable
from evals.report.panels import COSTS, bars, boxes, curve, forest
from evals.report.tables import short
from gsi_node.types import Plain

LOOK: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "savefig.dpi": 200,
    "svg.hashsalt": "evals",
    "text.parse_math": False,  # a dollar in a name is no formula
}
STYLES = {
    "gsi": ("#0072B2", "o", "-"),
    "gsi-ic": ("#D55E00", "D", "-"),
    "expgsi": ("#009E73", "^", "-"),
    "gsi-no-fallback": ("#56B4E9", "v", "-"),
    "rsd-n": ("#E69F00", "s", "-"),
    "rsd": ("#E69F00", "h", ":"),
    "sbon-draft": ("#CC79A7", "X", "-"),
    "sbon-base": ("#000000", "P", "-"),
    "bon-draft": ("#CC79A7", "<", "--"),
    "bon-base": ("#000000", ">", "--"),
    "draft": ("#CC79A7", "p", ":"),
    "base": ("#000000", "p", ":"),
    "majority-draft": ("#CC79A7", "*", "-."),
    "majority-base": ("#000000", "*", "-."),
    "specdec": ("#7F7F7F", "8", ":"),
    "specdec-sbon": ("#7F7F7F", "d", "--"),
}
OTHER = ("#7F7F7F", "H", "--")


class Plot(NamedTuple):
    """A drawn plot: where it lies and what it shows."""

    name: str
    title: str
    caption: str
    png: Path
    svg: Path


def draw(summary: Plain, folder: Path) -> list[Plot]:
    """Every plot that the summary has numbers for, written into `folder`; one set a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = list(dict.fromkeys(setting["data"] for setting in summary["settings"]))
    drawn = []
    with mpl.rc_context(LOOK):
        for data in sets:
            settings = [s for s in summary["settings"] if s["data"] == data]
            mark = "" if len(sets) == 1 else "-" + (re.sub(r"[^A-Za-z0-9]+", "_", data).strip("_")[-40:] or "data")
            mark += f"-{sets.index(data)}" if len(sets) > 1 else ""
            for name, title, caption, figure in _figures(summary, data, settings):
                if figure is not None:
                    png, svg = folder / f"{name}{mark}.png", folder / f"{name}{mark}.svg"
                    figure.savefig(png)
                    figure.savefig(svg, metadata={"Date": None})
                    drawn.append(Plot(name + mark, title if len(sets) == 1 else f"{title}: {data}", caption, png, svg))
    return drawn


def _figures(summary: Plain, data: str, settings: list[Plain]) -> list[tuple[str, str, str, Figure | None]]:
    pairs = [pair for pair in summary["pairs"] if pair["data"] == data]
    curves = [entry for entry in summary["calibration"] if entry["data"] == data]
    front = {cost: [summary["settings"][i] for i in places] for cost, places in summary["pareto"][data].items()}
    interval = "Bars are 95 % intervals, clustered by problem."
    beaten = "The grey line joins what no other setting beats at the same or a lower cost."
    busy = any(s["seconds"] is not None and not s["seconds"]["latency"] for s in settings)
    load = " Hollow points were measured under load and are no latencies." if busy else ""
    answers = any(entry["kind"] == "answers" for entry in curves)
    against = "the answer's correctness (reward of the last step)" if answers else "the exact label of each step"
    return [
        ("accuracy", "Accuracy against n", interval, _against_n(settings, _accuracy, "accuracy")),
        ("flops", "Accuracy against FLOPs", f"{interval} {beaten}", _by_cost(settings, front, "flops")),
        (
            "seconds",
            "Accuracy against seconds",
            f"{interval} {beaten}{load}",
            _by_cost(settings, front, "seconds"),
        ),
        ("acceptance", "Acceptance rate", interval, _against_n(settings, _acceptance, "share of steps accepted")),
        (
            "calibration",
            "Calibration of the reward",
            f"The reward against {against}; {interval[0].lower()}{interval[1:]} Below: how many lie in each bin.",
            curve(curves),
        ),
        (
            "differences",
            "Paired differences of accuracy",
            "First minus second on common problems and seeds, with paired 95 % intervals. Filled: p (Holm) < 0.05.",
            forest(pairs),
        ),
        (
            "weights",
            "Effective sample size and mean weight",
            "Of the batches that were put to the test: boxes are quartiles, whiskers the 5 and 95 % quantiles.",
            boxes(settings),
        ),
        (
            "costs",
            "What a problem costs",
            COSTS + ("" if not busy else " †: measured under load."),
            bars(settings),
        ),
    ]


def _accuracy(setting: Plain) -> Plain | None:
    found: Plain = setting["accuracy"]
    return found


def _acceptance(setting: Plain) -> Plain | None:
    found: Plain | None = setting["acceptance"]
    return found


def style(method: str) -> dict[str, Any]:
    """Colour, marker and line of a method, the same in every plot of every report."""
    colour, marker, line = STYLES.get(method, OTHER)
    return {"color": colour, "marker": marker, "linestyle": line, "markersize": 6, "linewidth": 1.4}


def _against_n(settings: list[Plain], value: Callable[[Plain], Plain | None], label: str) -> Figure | None:
    """A line a method over n, dodged so that the intervals of one n stand side by side."""
    known = [s for s in settings if value(s) is not None]
    if not known:
        return None
    figure = Figure(figsize=(5.2, 3.4))
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(s["method"] for s in known))
    sizes = sorted({s["n"] for s in known})
    for place, method in enumerate(methods):
        own = sorted((s for s in known if s["method"] == method), key=lambda s: (s["n"], s["temperature"]))
        dodge = 2.0 ** (0.09 * (place - (len(methods) - 1) / 2) * min(1.0, 6 / len(methods)))
        points = [value(s) or {} for s in own]
        _errorbars(axes, [s["n"] * dodge for s in own], points, method)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlim(sizes[0] * 2**-0.6, sizes[-1] * 2**0.6)
    axes.set_xlabel("n, candidates a step")
    _finish(axes, label)
    return figure


def _by_cost(settings: list[Plain], fronts: dict[str, list[Plain]], cost: str) -> Figure | None:
    """Accuracy over the mean cost of a problem, a line a method, and the Pareto front."""
    known = [s for s in settings if s[cost] is not None and s[cost]["total"]["value"] > 0]
    if not known:
        return None
    figure = Figure(figsize=(5.2, 3.4))
    axes = figure.add_subplot()
    front = [s for s in fronts[cost] if s in known]
    xs, ys = [s[cost]["total"]["value"] for s in front], [s["accuracy"]["value"] for s in front]
    if len(front) > 1:
        axes.step(xs, ys, where="post", color="#BBBBBB", linewidth=5, alpha=0.6, zorder=1, solid_capstyle="round")
    for method in dict.fromkeys(s["method"] for s in known):
        own = sorted((s for s in known if s["method"] == method), key=lambda s: (s["n"], s["temperature"]))
        places = [s[cost]["total"]["value"] for s in own]
        hollow = [cost == "seconds" and not s["seconds"]["latency"] for s in own]
        _errorbars(axes, places, [s["accuracy"] for s in own], method, hollow=all(hollow))
        for s, x in zip(own, places, strict=True):
            about: Any = {"fontsize": 7, "color": STYLES.get(method, OTHER)[0], "zorder": 5}
            at = (x, s["accuracy"]["value"])
            text = axes.annotate(f"{s['n']}", at, (5, 4), textcoords="offset points", **about)
            text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    spread = [s[cost]["total"]["value"] for s in known]
    if max(spread) > 4 * min(spread):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.margins(x=0.08)
    axes.set_xlabel("forward FLOPs a problem" if cost == "flops" else "seconds a problem")
    _finish(axes, "accuracy", note="numbers at the points: n")
    return figure


def _errorbars(axes: Axes, xs: Sequence[float], points: Sequence[Plain], method: str, *, hollow: bool = False) -> None:
    ys = [p["value"] for p in points]
    below = [max(0.0, p["value"] - p["low"]) for p in points]
    above = [max(0.0, p["high"] - p["value"]) for p in points]
    look = style(method) | ({"markerfacecolor": "white"} if hollow else {})
    axes.errorbar(xs, ys, yerr=[below, above], label=printable(method), capsize=2.5, elinewidth=1, zorder=3, **look)


def _finish(axes: Axes, label: str, note: str | None = None) -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    low, high = axes.get_ylim()
    axes.set_ylim(max(-0.02, low), min(1.02, high))
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=2.4, title=note)
    legend.get_title().set_fontsize(7)
