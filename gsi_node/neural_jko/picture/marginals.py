"""Marginal densities on a logarithmic scale, so that tails show."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from scipy.stats import ks_2samp
from torch import Tensor

from gsi_node.neural_jko.picture.style import BLUE, GREY, MODEL, TRUTH
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Array

MOST, COLUMNS = 10, 4
BINS = 60
HEAVY = 40.0  # ranges of the quartiles: an axis longer than this is bent


def draw_marginals(figure: Figure | SubFigure, target: Target, x: Tensor, truth: Tensor | None) -> None:
    """x, truth (n, dim). Up to MOST coordinates: those with the largest Kolmogorov–Smirnov distance, or the first."""
    model, true = x.double().numpy(), None if truth is None else truth.double().numpy()
    chosen, why = list(range(target.dim)), f"{target.name}: marginal densities"
    if target.dim > MOST and true is not None:
        apart = ks_2samp(model, true, axis=0).statistic
        chosen = sorted(np.argsort(-apart, kind="stable")[:MOST].tolist())
        why += f", the {MOST} of {target.dim} that differ most (Kolmogorov–Smirnov)"
    elif target.dim > MOST:
        chosen, why = chosen[:MOST], f"{why}, the first {MOST} of {target.dim}"
    columns = min(COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    if isinstance(figure, Figure):
        figure.set_figheight(0.8 + 2.1 * rows if columns > 2 else 4.0)
        figure.suptitle(why)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes, i in zip(panels, chosen, strict=False):
        _marginal(axes, f"$x_{{{i + 1}}}$", model[:, i], None if true is None else true[:, i])
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("density")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=2, handlelength=1.2)


def _marginal(axes: Axes, name: str, model: Array, true: Array | None) -> None:
    """Histograms over the range of both; where the quartiles lie close together in it, only their part is linear."""
    both = model if true is None else np.concatenate([model, true])
    low, middle, high = np.quantile(model if true is None else true, [0.25, 0.5, 0.75])
    unit = float(high - low) or 1.0
    shift = float(f"{middle:.3g}") if abs(middle) > HEAVY * unit else 0.0
    edges = np.linspace(both.min(), both.max(), BINS + 1) - shift
    if edges[-1] - edges[0] > HEAVY * unit:
        axes.set_xscale("asinh", linear_width=unit)
        ends = np.arcsinh(edges[[0, -1]] / unit)
        edges = unit * np.sinh(np.linspace(ends[0], ends[1], BINS + 1))
        powers = _powers(unit, edges)
        axes.set_xticks([0.0, *(x for x in powers if abs(x) == max(map(abs, powers)))])
        axes.set_xticks(powers, minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
    if true is not None:
        axes.stairs(_density(true - shift, edges), edges, fill=True, color=GREY, label=TRUTH)
    axes.stairs(_density(model - shift, edges), edges, color=BLUE, linewidth=1.2, label=MODEL)
    axes.set_yscale("log")
    axes.set_xlabel(f"{name} − {shift:g}" if shift else name)


def _powers(unit: float, edges: Array) -> list[float]:
    """±10^k within the edges and beyond the linear part; the highest of them are labelled."""
    least, most = math.ceil(math.log10(unit)), math.floor(math.log10(np.abs(edges[[0, -1]]).max()))
    powers = [sign * 10.0**k for k in range(least, most + 1) for sign in (-1, 1)]
    return [x for x in powers if edges[0] <= x <= edges[-1]]


def _density(x: Array, edges: Array) -> Array:
    counts, _ = np.histogram(x.clip(edges[0], edges[-1]), edges)  # rounding may put an end before its point
    density: Array = counts / (len(x) * np.diff(edges))
    return density
