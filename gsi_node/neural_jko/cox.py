"""A log-Gaussian Cox process on a grid: points in the unit square, and the log-intensity that they come from.

Source: Møller, Syversen and Waagepetersen 1998, with the constants of the literature on samplers (variance 1.91, length
1/33, mean log 126 − 1.91/2). No ground truth: long chains stand in for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gsi_node.errors import ConfigError

CELLS = 20  # along one side
VARIANCE, LENGTH, EXPECTED = 1.91, 1 / 33, 126.0
MEAN = math.log(EXPECTED) - 0.5 * VARIANCE


@dataclass(frozen=True, slots=True)
class Cox:
    """g(y) = N(y; MEAN, K) Π_c Poisson(k_c; e^{y_c} / cells), K_ab = VARIANCE e^{−|a − b| / LENGTH}.

    points: (n, 2) in the unit square; k_c of them lie in cell c. side: cells along one. log ∫ g is the log-probability
    of the counts.
    """

    points: Tensor
    name: str = "cox"
    side: int = CELLS
    counts: Tensor = field(init=False)
    factor: Tensor = field(init=False)  # of K: Cholesky

    def __post_init__(self) -> None:
        cells = (self.points * self.side).long().clamp(max=self.side - 1)
        counts = torch.bincount(cells[:, 0] * self.side + cells[:, 1], minlength=self.dim).double()
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "factor", torch.linalg.cholesky(covariance(self.side)))

    @property
    def dim(self) -> int:
        return self.side**2

    def log_density(self, y: Tensor) -> Tensor:
        factor, counts = self.factor.to(y), self.counts.to(y)
        white = torch.linalg.solve_triangular(factor, (y - MEAN).t(), upper=False)
        prior = -0.5 * white.square().sum(0) - factor.diagonal().log().sum() - 0.5 * self.dim * math.log(2 * math.pi)
        mean = torch.exp(y) / self.dim
        constant = (counts * math.log(self.dim) + torch.lgamma(counts + 1.0)).sum()
        return torch.as_tensor(prior + (counts * y - mean).sum(1) - constant)


def covariance(side: int = CELLS) -> Tensor:
    """K, (side², side²)."""
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    centres = torch.cartesian_prod(middles, middles)
    return VARIANCE * torch.exp(-torch.cdist(centres, centres) / LENGTH)


def drawn_points(seed: int) -> Tensor:
    """Points of the process itself: a field y, as many as Poisson counts say in every cell, uniform in it."""
    rng = np.random.default_rng(seed)
    field_ = MEAN + torch.linalg.cholesky(covariance()).numpy() @ rng.standard_normal(CELLS**2)
    counts = rng.poisson(np.exp(field_) / CELLS**2)
    corners = np.stack(np.divmod(np.repeat(np.arange(CELLS**2), counts), CELLS), axis=1)
    return torch.from_numpy((corners + rng.random(corners.shape)) / CELLS)


def read_points(path: Path) -> Tensor:
    """One point a line: two numbers in [0, 1], with a comma or spaces between. Raises ConfigError naming the line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            rows.append(_point(f"{path}, line {number}", line))
    if not rows:
        raise ConfigError(f"{path}: holds no points; want two numbers in [0, 1] a line")
    return torch.tensor(rows, dtype=torch.float64)


def _point(where: str, line: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in line.replace(",", " ").split())
    except ValueError as error:
        raise ConfigError(f"{where}: {line[:40]!r} is no point; want two numbers in [0, 1]") from error
    if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
        raise ConfigError(f"{where}: {line[:40]!r} lies outside the unit square; divide by its side")
    return x, y
