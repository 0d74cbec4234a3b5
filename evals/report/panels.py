"""The plots that are rows of labelled things: differences, boxes, costs; and the reliability curve of a reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evals.report.markdown import printable
from evals.report.tables import difference_label, short
from evals.report.tally import ROLES
from gsi_node.types import Plain

COSTS = (
    "Means over problems: tokens generated and scored, forward FLOPs, seconds. Black: wall seconds; the base scores "
    "while the reward judges, so a bar may reach beyond."
)
MOST_ROWS = 60
FILLS = {
    "draft": "#CC79A7",
    "draft generated": "#CC79A7",
    "base": "#0072B2",
    "base generated": "#0072B2",
    "base scored": "#56B4E9",
    "reward": "#E69F00",
    "reward scored": "#E69F00",
    "rest": "#BBBBBB",
}
SOURCES = {"draft": ("#CC79A7", "X"), "base": ("#0072B2", "o")}


def _tall(rows: int, width: float = 5.2) -> Figure:
    return Figure(figsize=(width, 0.9 + 0.21 * rows))


def forest(pairs: Sequence[Plain]) -> Figure | None:
    """Each paired difference with its interval, in percentage points."""
    if not pairs:
        return None
    shown = list(pairs)[:MOST_ROWS]
    figure = _tall(len(shown))
    axes = figure.add_subplot()
    axes.axvline(0, color="#666666", linewidth=0.9, zorder=1)
    for place, pair in enumerate(shown):
        sure = pair["p_holm"] < 0.05
        value, low, high = (100 * pair[key] for key in ("value", "low", "high"))
        axes.plot([low, high], [place, place], color="#0072B2", linewidth=1.3, zorder=2)
        axes.plot(
            value, place, "o", color="#0072B2", markersize=5, markerfacecolor="#0072B2" if sure else "white", zorder=3
        )
    _labels(axes, [difference_label(pair) for pair in shown])
    cut = f" ({len(shown)} of {len(pairs)}; the table has all)" if len(shown) < len(pairs) else ""
    axes.set_xlabel(f"difference of accuracy, percentage points{cut}")
    return figure


def boxes(settings: Sequence[Plain]) -> Figure | None:
    """Quantiles of ess / n and of log w̄ by setting."""
    known = [s for s in settings if s["weights"].get("ess_share") or s["weights"].get("log_mean_weight")]
    if not known:
        return None
    figure = _tall(len(known), 7.0)
    panels: Any = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08})
    for axes, key, label in zip(
        panels, ("ess_share", "log_mean_weight"), ("ess / n", "log mean weight, nats"), strict=True
    ):
        found = [(place, s["weights"][key]) for place, s in enumerate(known) if s["weights"].get(key)]
        axes.bxp(
            [
                {"med": q["p50"], "q1": q["p25"], "q3": q["p75"], "whislo": q["p5"], "whishi": q["p95"]}
                for _, q in found
            ],
            positions=[place for place, _ in found],
            orientation="horizontal",
            showfliers=False,
            widths=0.55,
            patch_artist=True,
            boxprops={"facecolor": "#CFE5F3", "edgecolor": "#0072B2"},
            medianprops={"color": "#D55E00", "linewidth": 1.6},
            whiskerprops={"color": "#0072B2"},
            capprops={"color": "#0072B2"},
        )
        axes.set_xlabel(label)
    panels[0].set_xlim(0, 1.02)
    _labels(panels[0], [s["label"] for s in known])
    panels[1].tick_params(left=False)
    return figure


def curve(entries: Sequence[Plain]) -> Figure | None:
    """Share of good ones over the mean reward of a bin, one line a source, above the counts."""
    if not entries:
        return None
    figure = Figure(figsize=(4.6, 4.4))
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.2, 1), "hspace": 0.08})
    span = [min(e["bins"][0]["low"] for e in entries), max(e["bins"][-1]["high"] for e in entries)]
    top.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="calibrated")
    for place, entry in enumerate(entries):
        colour, marker = SOURCES.get(entry["source"], ("#7F7F7F", "d"))
        bins = entry["bins"]
        ys = [b["good"]["value"] for b in bins]
        bars = [
            [b["good"]["value"] - b["good"]["low"] for b in bins],
            [b["good"]["high"] - b["good"]["value"] for b in bins],
        ]
        area = "" if entry["auroc"] is None else f", AUROC {entry['auroc']:.3f}"
        label = f"{printable(entry['source'])}: {entry['count']:,} {entry['kind']}\nECE {entry['ece']:.3f}{area}"
        xs = [b["mean_reward"] for b in bins]
        top.errorbar(
            xs, ys, yerr=bars, color=colour, marker=marker, capsize=2.5, elinewidth=1, linewidth=1.4, label=label
        )
        width = (span[1] - span[0]) / 10 / (len(entries) + 0.4)
        left = [(b["low"] + b["high"]) / 2 + (place - (len(entries) - 1) / 2) * width for b in bins]
        bottom.bar(left, [b["count"] for b in bins], width=width, color=colour)
    top.set_ylabel("share good")
    top.set_ylim(-0.03, 1.03)
    bottom.set_xlim(span[0] - 0.02, span[1] + 0.02)
    bottom.set_xlabel("reward")
    bottom.set_ylabel("count")
    bottom.yaxis.set_major_locator(MaxNLocator(3))
    bottom.yaxis.set_major_formatter(FuncFormatter(short))
    top.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def bars(settings: Sequence[Plain]) -> Figure | None:
    """Tokens, FLOPs and seconds a problem, stacked by model."""
    if not any(s["tokens"] or s["seconds"] for s in settings):
        return None
    figure = _tall(len(settings) + 1, 9.0)
    panels: Any = figure.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.1})
    for place, setting in enumerate(settings):
        _stack(panels[0], place, _token_parts(setting))
        _stack(panels[1], place, {role: (setting["flops"] or {}).get(role, 0.0) for role in ROLES})
        spent = setting["seconds"] or {}
        _stack(panels[2], place, {part: spent.get(part) or 0.0 for part in (*ROLES, "rest")})
        if spent:
            panels[2].plot([spent["total"]["value"]] * 2, [place - 0.36, place + 0.36], color="black", linewidth=1.4)
    for axes, label in zip(panels, ("tokens", "forward FLOPs", "seconds"), strict=True):
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left=0)
    names = [s["label"] + ("" if not s["seconds"] or s["seconds"]["latency"] else " †") for s in settings]
    _labels(panels[0], names)
    for axes in panels[1:]:
        axes.tick_params(left=False)
    for axes, columns in ((panels[0], 2), (panels[2], 2)):
        handles, texts = axes.get_legend_handles_labels()
        unique = dict(zip(texts, handles, strict=True))
        axes.legend(
            unique.values(), unique.keys(), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=8
        )
    return figure


def _token_parts(setting: Plain) -> dict[str, float]:
    counted = setting["tokens"]
    parts = {
        f"{role} {kind}": float(counted[role][kind])
        for role in counted
        for kind in ("generated", "scored")
        if counted[role][kind]
    }
    return {name: parts[name] for name in FILLS if name in parts}


def _stack(axes: Axes, place: int, parts: dict[str, float]) -> None:
    left = 0.0
    for name, value in parts.items():
        if value > 0:
            axes.barh(place, value, left=left, height=0.72, color=FILLS[name], label=name)
            left += value


def _labels(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [printable(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
