"""Importance weights in log space. Everything is float64 and in nats; no raw exp of β·r̃ is ever taken.

Source: arXiv 2506.04118 (w = exp(β r) π_B / π_S, E_S[w] = Z); bounds: docs/math.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gsi_node.types import Array

Floats = Sequence[float] | Array


def log_weights(rewards: Floats, log_ratios: Floats | None, beta: float) -> Array:
    """log w_i = β r_i + ℓ_i, with ℓ_i = log π_B(y_i|x) − log π_S(y_i|x) (nats), or β r_i where there is no ratio."""
    tilt = beta * np.asarray(rewards, dtype=np.float64)
    return tilt if log_ratios is None else tilt + np.asarray(log_ratios, dtype=np.float64)


def tilted_rewards(rewards: Floats, log_ratios: Floats, beta: float) -> Array:
    """r̃_i = r_i + ℓ_i / β (arXiv 2506.04118), in units of the reward; β > 0."""
    return np.asarray(rewards, dtype=np.float64) + np.asarray(log_ratios, dtype=np.float64) / beta


def log_sum_exp(values: Floats) -> float:
    """log Σ exp(v_i), computed as m + log Σ exp(v_i − m) with m = max v; −inf where every v_i is −inf. Nats."""
    array = np.asarray(values, dtype=np.float64)
    top = float(array.max())
    if top == -math.inf:
        return top
    return top + math.log(float(np.exp(array - top).sum()))


def log_mean_weight(log_w: Floats) -> float:
    """log w̄ = log((1/n) Σ w_i), the log of an unbiased estimate of Z. Nats."""
    return log_sum_exp(log_w) - math.log(len(log_w))


def normalised(log_w: Floats) -> Array:
    """softmax: w_i / Σ w_j, shape (n,). Some weight must be positive."""
    return np.exp(np.asarray(log_w, dtype=np.float64) - log_sum_exp(log_w))


def ess(log_w: Floats) -> float:
    """Effective sample size 1 / Σ p_i² of the normalised weights p, between 1 and n (a number of candidates)."""
    return float(1.0 / np.square(normalised(log_w)).sum())


def chi2(log_w: Floats) -> float:
    """χ² diagnostic n / ess − 1 of the step target against the proposal.

    Never above n − 1, hence far too low where coverage is poor: a lower-biased diagnostic, not a certificate.
    """
    return len(log_w) / ess(log_w) - 1.0


def kl_bound(chi2_divergence: float, n: int) -> float:
    """KL(step target ‖ law of soft best-of-n) ≤ ln(1 + χ²(step target ‖ proposal) / n), in nats (docs/math.md §4)."""
    return math.log1p(chi2_divergence / n)


def candidates_for_kl(chi2_base_draft: float, beta: float, reward_max: float, epsilon: float) -> float:
    """n ≥ ((χ²(π_B ‖ π_S) + 1) e^{2 β R} − 1) / (e^ε − 1) suffices for KL ≤ ε nats when 0 ≤ r ≤ R (docs/math.md §4)."""
    log_numerator = math.log1p(chi2_base_draft) + 2.0 * beta * reward_max
    if log_numerator > 700.0:
        return math.inf
    return math.expm1(log_numerator) / math.expm1(epsilon)
