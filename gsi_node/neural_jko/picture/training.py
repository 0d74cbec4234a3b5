"""How a run was trained: the losses of every fit, and what each layer refuses or is worth."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gsi_node.neural_jko.losses import LossCurve, read_losses
from gsi_node.neural_jko.picture.style import BLUE, GREY, ORANGE
from gsi_node.neural_jko.run import Run
from gsi_node.types import Plain

MOST, COLUMNS = 12, 4  # panels of losses
SHOWN = 0.9  # of a fit's losses; the rest, of its first steps or a reverse KL's outliers, may stick out


def draw_training(figure: Figure, run: Run) -> None:
    """Losses are in nats, up to a constant for reverse KL, and do not compare between panels."""
    records = run.finished()
    fits = {what: curve for i in range(len(records)) for what, curve in read_losses(run.folder, i).items()}
    shown = list(fits.items())
    if len(shown) > MOST:
        shown = shown[: MOST - 1] + shown[-1:]
    columns = max(1, min(COLUMNS, len(shown)))
    rows = math.ceil(len(shown) / columns)
    figure.set_figheight(2.6 + 1.9 * rows)
    left_out = f", {len(shown)} of {len(fits)} fits" if len(shown) < len(fits) else ""
    figure.suptitle(f"{run.target.name}, seed {run.config.seed}: training{left_out}")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.0] * rows + [1.1])
    for place, (what, curve) in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        _losses(axes, what, curve)
        if place >= len(shown) - columns:
            axes.set_xlabel("step")
        if place % columns == 0:
            axes.set_ylabel("loss, nats")
    _layers(figure.add_subplot(grid[rows, :]), records, run.config.rejection_rate)


def _losses(axes: Axes, what: str, curve: LossCurve) -> None:
    steps = np.minimum(np.arange(1, len(curve.loss) + 1) * curve.every, curve.steps)
    axes.plot(steps, curve.loss, color=BLUE, linewidth=0.8)
    low, high = min(curve.loss), float(np.quantile(curve.loss, SHOWN))
    rim = 0.05 * (high - low) or 0.5
    axes.set_ylim(low - rim, high + rim)
    axes.set_title(what)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _layers(axes: Axes, records: list[Plain], rate: float) -> None:
    ess = [(i, layer["ess"]) for i, layer in enumerate(records) if layer.get("ess")]
    refused = [(i, 1 - layer["accept_prob"]) for i, layer in enumerate(records) if layer["kind"] == "rejection"]
    if refused:
        axes.bar(*zip(*refused, strict=True), color=BLUE, label="refused by a rejection layer")
        axes.axhline(rate, color=GREY, linewidth=1, zorder=0, label=f"wanted rate {rate:g}")
    if ess:
        axes.plot(*zip(*ess, strict=True), "-D", color=ORANGE, linewidth=1, markersize=4, label="effective sample size")
    axes.set(xlim=(-0.6, len(records) - 0.4), ylim=(0, 1.06), xlabel="layer", ylabel="share")
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    if ess or refused:
        axes.legend(fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
