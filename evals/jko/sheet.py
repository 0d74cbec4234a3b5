"""One small picture of every target in a folder of `evals jko`: samples of the first seed's model beside the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from gsi_node.neural_jko.picture.samples import draw_samples
from gsi_node.neural_jko.picture.style import page, save
from gsi_node.neural_jko.targets import Target

DRAWS, COLUMNS, HEIGHT = 2000, 3, 2.1  # inches of a row
DPI = 110


class Shown(NamedTuple):
    """Draws x and as many of the truth (n, dim) of a target, and ρ as it was measured."""

    target: Target
    x: Tensor
    truth: Tensor
    rho: float


def draw_sheet(shown: Sequence[Shown], path: Path) -> None:
    """Write the sheet, a cell a target. Raises StorageError."""
    rows = math.ceil(len(shown) / COLUMNS)
    with page(HEIGHT * rows, font=6.5) as figure:
        figure.suptitle(f"{DRAWS:,} draws of neural JKO beside as many of the truth", fontsize="large")
        cells = figure.subfigures(rows, min(COLUMNS, len(shown)), squeeze=False)
        for cell, one in zip(cells.flat, shown, strict=False):
            draw_samples(cell, one.target, one.x, one.truth, f"{one.target.name}: ρ = {one.rho:.1e}")
        save(figure, path, DPI)
