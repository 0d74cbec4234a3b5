"""How far samples are from the truth, with the sampling floor; estimates of log Z with their standard errors.

The effective sample size of the claimed weights is not among the qualities: a rejection layer hides errors from it (the
weights of a model that misses a mode are flat). Quality is measured against ground-truth samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gsi_node.core.weights import log_mean_weight, normalised
from gsi_node.neural_jko.targets import KnownTarget
from gsi_node.types import Array

ROWS = 2048  # of a distance matrix that are held at once


class LogZEstimate(NamedTuple):
    value: float
    error: float  # one standard error


def energy_distance(x: Tensor, y: Tensor) -> float:
    """D = E‖X − Y‖ − ½ E‖X − X'‖ − ½ E‖Y − Y'‖ of two samples (n, dim), (m, dim), all pairs, a point with itself too.

    Half of Székely and Rizzo's energy distance: the convention of arXiv 2407.20444's tables (its floors equal
    E‖X − X'‖ / n, which is the expectation of this D between two samples of n draws of one law).
    """
    x, y = x.double(), y.double()
    return _mean_distance(x, y) - 0.5 * _mean_distance(x, x) - 0.5 * _mean_distance(y, y)


def sampling_floor(target: KnownTarget, n: int, generator: torch.Generator, repeats: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) of the energy distance between two true samples of n points each."""
    pairs = [energy_distance(target.sample(n, generator), target.sample(n, generator)) for _ in range(repeats)]
    return float(np.mean(pairs)), float(np.std(pairs, ddof=1)) if repeats > 1 else 0.0


def log_z_lower(log_w: Array) -> LogZEstimate:
    """E_p[log g − log p] = log Z − KL(p ‖ target): a lower bound of log Z in expectation. Nats."""
    return LogZEstimate(float(log_w.mean()), float(log_w.std(ddof=1) / math.sqrt(len(log_w))))


def log_z(log_w: Array) -> LogZEstimate:
    """log((1/n) Σ w_i), consistent for log Z where p covers the target; error by the delta method. Nats."""
    relative = normalised(log_w) * len(log_w)  # w / w̄
    return LogZEstimate(log_mean_weight(log_w), float(relative.std(ddof=1) / math.sqrt(len(log_w))))


def mode_weights(x: Tensor, means: Tensor) -> list[float]:
    """Share of the points (n, dim) that are nearest to each mode (k, dim)."""
    nearest = torch.cdist(x.double(), means.to(x).double()).argmin(dim=1)
    return [float(count) / len(x) for count in torch.bincount(nearest, minlength=len(means))]


def mode_error(weights: list[float]) -> float:
    """Σ_i (m_i − 1/k)²; its expectation for n true draws of equal modes is (1 − 1/k) / n."""
    return math.fsum((weight - 1.0 / len(weights)) ** 2 for weight in weights)


def _mean_distance(x: Tensor, y: Tensor) -> float:
    """Mean over all pairs, shape-free; differences are taken exactly (no |x|² − 2xy + |y|²)."""
    exact = "donot_use_mm_for_euclid_dist"
    total = sum(float(torch.cdist(rows, y, compute_mode=exact).sum()) for rows in x.split(ROWS))
    return total / (len(x) * len(y))
