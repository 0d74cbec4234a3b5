"""Samples beside the truth: two coordinates at one scale, or the mean intensity of a Cox process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from gsi_node.neural_jko.cox import CELLS, Cox
from gsi_node.neural_jko.known import Mixture
from gsi_node.neural_jko.picture.marginals import draw_marginals
from gsi_node.neural_jko.picture.style import MODEL, TRUTH, WIDTH
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Array

INNER, MARGIN = 0.01, 0.15  # of the draws on each side of the view that may stick out, and the rim put around the rest
LONG = 1.6  # a view longer than this lies down, the panels one above the other
FEW, MANY = 50, 200  # hexagons along the shorter side at least, and along the longer at most


class View(NamedTuple):
    """What is shown: coordinates `axes` (horizontal, vertical) between `low` and `high`, (2,) each."""

    axes: tuple[int, int]
    low: Array
    high: Array

    @property
    def size(self) -> Array:
        return self.high - self.low

    @property
    def lies(self) -> bool:
        return float(self.size[0] / self.size[1]) > LONG

    def of(self, x: Array) -> Array:
        return x[:, list(self.axes)]

    def inside(self, points: Array) -> Array:
        """Those of the points (n, 2) that the view shows."""
        shown: Array = points[((points >= self.low) & (points <= self.high)).all(1)]
        return shown


def draw_samples(figure: Figure | SubFigure, target: Target, x: Tensor, truth: Tensor | None, title: str = "") -> None:
    """x, truth (n, dim): as many draws of both. title: above all, in place of the target's name.

    A whole figure gets its height here, and a colour bar; a cell of a sheet, a SubFigure, says less.
    """
    panels = {MODEL: x.double().numpy(), **({} if truth is None else {TRUTH: truth.double().numpy()})}
    figure.suptitle(title or target.name, fontsize="large")
    if isinstance(target, Cox):
        _intensities(figure, target, panels)
    elif target.dim == 1:
        draw_marginals(figure, target, x, truth)
    else:
        _clouds(figure, view_of(target, panels), panels)


def view_of(target: Target, panels: Mapping[str, Array]) -> View:
    """The first two coordinates; of a mixture the two whose means differ most. As wide as the truth, where known."""
    axes = (0, 1)
    if isinstance(target, Mixture) and target.dim > 2:
        first, second = target.means.std(0).argsort(descending=True, stable=True)[:2].sort().values.tolist()
        axes = (first, second)
    x = (panels[TRUTH] if TRUTH in panels else panels[MODEL])[:, list(axes)]
    low, high = np.quantile(x, INNER, axis=0), np.quantile(x, 1 - INNER, axis=0)
    rim = MARGIN * np.maximum(high - low, 1e-9 * np.abs(high).max() + 1e-300)
    view = View(axes, low - rim, high + rim)
    if view.size[1] / view.size[0] > LONG:
        return View(axes[::-1], view.low[::-1], view.high[::-1])
    return view


def _clouds(figure: Figure | SubFigure, view: View, panels: Mapping[str, Array]) -> None:
    aspect = float(view.size[1] / view.size[0])
    if isinstance(figure, Figure):
        across = 1 if view.lies else 2
        figure.set_figheight(0.8 + math.ceil(len(panels) / across) * (0.3 + 0.82 * WIDTH / across * aspect))
    axes = _grid(figure, len(panels), view.lies)
    drawn = [_hexagons(one, view, x) for one, x in zip(axes, panels.values(), strict=True)]
    for one, (name, x) in zip(axes, panels.items(), strict=True):
        size = f": {len(x):,} draws" if isinstance(figure, Figure) else ""
        one.set_title(f"{name}{size}, {len(x) - len(view.inside(view.of(x))):,} outside")
    most = max(float(np.max(np.asarray(each.get_array()), initial=2.0)) for each in drawn)
    for each in drawn:
        each.set_norm(LogNorm(1.0, most))
    for one in axes[-1:] if view.lies else axes:
        one.set_xlabel(f"$x_{{{view.axes[0] + 1}}}$")
    for one in axes if view.lies else axes[:1]:
        one.set_ylabel(f"$x_{{{view.axes[1] + 1}}}$")
    if isinstance(figure, Figure):
        figure.colorbar(drawn[0], ax=list(axes), label="draws in a hexagon", fraction=0.03, aspect=30)


def _hexagons(axes: Axes, view: View, x: Array) -> PolyCollection:
    shown = view.inside(view.of(x))
    width = max(view.size.min() / FEW, view.size.max() / MANY)
    across, along = (max(2, round(float(size / width))) for size in view.size)
    collection = axes.hexbin(
        shown[:, 0],
        shown[:, 1],
        gridsize=(across, max(1, round(along / math.sqrt(3)))),
        extent=(view.low[0], view.high[0], view.low[1], view.high[1]),
        mincnt=1,
        linewidths=0.1,
        cmap="viridis",
    )
    axes.set(xlim=(view.low[0], view.high[0]), ylim=(view.low[1], view.high[1]), aspect="equal")
    return collection


def _intensities(figure: Figure | SubFigure, target: Cox, panels: Mapping[str, Array]) -> None:
    """The mean of e^y over the draws, and the points that were seen."""
    axes = _grid(figure, len(panels), lies=False)
    means = [np.exp(x).mean(0).reshape(CELLS, CELLS).T for x in panels.values()]
    norm = LogNorm(min(float(mean.min()) for mean in means), max(float(mean.max()) for mean in means))
    points, whole = target.points.numpy(), isinstance(figure, Figure)
    for one, mean, (name, x) in zip(axes, means, panels.items(), strict=True):
        image = one.imshow(mean, origin="lower", extent=(0, 1, 0, 1), cmap="viridis", norm=norm)
        size, edge = (6.0, 0.4) if whole else (1.0, 0.0)
        one.scatter(points[:, 0], points[:, 1], s=size, color="white", edgecolors="black", linewidths=edge)
        one.set_title(f"{name}: mean intensity, {len(x):,} draws" if whole else name)
    if whole:
        figure.colorbar(image, ax=list(axes), label="points a unit square", fraction=0.03, aspect=30)


def _grid(figure: Figure | SubFigure, n: int, lies: bool) -> Sequence[Axes]:
    shape = (n, 1) if lies else (1, n)
    grid = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    return [axes for row in grid for axes in row]
