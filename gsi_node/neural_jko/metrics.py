"""How far samples are from the truth, with the noise of that; estimates of log Z and of both KLs with standard errors.

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


class NatsEstimate(NamedTuple):
    value: float
    error: float  # one standard error


class Distance(NamedTuple):
    """energy: D. relative: ρ = D / E‖Y − Y'‖ − 1/n, 0 in expectation for two samples of n draws of one law."""

    energy: float
    relative: float


def distance(x: Tensor, y: Tensor) -> Distance:
    """D = E‖X − Y‖ − ½ E‖X − X'‖ − ½ E‖Y − Y'‖ of two samples (n, dim), all pairs, a point with itself too; and ρ.

    Half of Székely and Rizzo's energy distance: the convention of arXiv 2407.20444's tables. Between samples of one law
    its mean is E‖X − X'‖ / n, so D at different n do not compare, and neither do ratios to that floor; ρ does.
    """
    x, y = x.double(), y.double()
    own = _mean_distance(y, y)
    energy = _mean_distance(x, y) - 0.5 * _mean_distance(x, x) - 0.5 * own
    apart = own * len(y) / (len(y) - 1)  # without the pairs of a point with itself
    return Distance(energy, energy / apart - 0.5 / len(x) - 0.5 / len(y))


def energy_distance(x: Tensor, y: Tensor) -> float:
    """D alone; see `distance`."""
    return distance(x, y).energy


def relative_noise(target: KnownTarget, n: int, generator: torch.Generator, repeats: int = 12) -> float:
    """The standard deviation of ρ between two true samples of n points: measured at 2,000 at most; it falls as 1/n."""
    few = min(n, 2000)
    pairs = [distance(target.sample(few, generator), target.sample(few, generator)).relative for _ in range(repeats)]
    return float(np.std(pairs, ddof=1)) * few / n


def log_z_lower(log_w: Array, model_error: float = 0.0) -> NatsEstimate:
    """E_p[log g − log p] = log Z − KL(p ‖ target): a lower bound of log Z in expectation. Nats.

    model_error: the standard error of log ∫ p = 0, which moves every log p (`rejection.log_z_error`).
    """
    error = float(log_w.std(ddof=1) / math.sqrt(len(log_w)))
    return NatsEstimate(float(log_w.mean()), math.hypot(error, model_error))


def log_z(log_w: Array, model_error: float = 0.0) -> NatsEstimate:
    """log((1/n) Σ w_i), consistent for log Z where p covers the target; error by the delta method. Nats."""
    relative = normalised(log_w) * len(log_w)  # w / w̄
    error = float(relative.std(ddof=1) / math.sqrt(len(log_w)))
    return NatsEstimate(log_mean_weight(log_w), math.hypot(error, model_error))


def reverse_kl(log_w: Array) -> NatsEstimate:
    """KL(p ‖ target) = log E_p w − E_p log w ≥ 0, on draws of p; error by the delta method. Nats.

    A factor of w, as a wrong ∫ p or an unknown Z is, does not change it. Mass that p misses is not in it.
    """
    relative = normalised(log_w) * len(log_w)
    error = float((relative - log_w).std(ddof=1) / math.sqrt(len(log_w)))
    return NatsEstimate(log_mean_weight(log_w) - float(log_w.mean()), error)


def forward_kl(log_ratio: Array, model_error: float = 0.0) -> NatsEstimate:
    """KL(target ‖ p) = E[log g/Z − log p] over draws of the target, from their log-ratios (n,). Nats.

    Unlike `reverse_kl` it sees what p misses. model_error: as in `log_z_lower`.
    """
    error = float(log_ratio.std(ddof=1) / math.sqrt(len(log_ratio)))
    return NatsEstimate(float(log_ratio.mean()), math.hypot(error, model_error))


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
