"""Accept or replace: one formula for GSI, reward-guided speculative decoding and rejection–resampling.

Choose x ~ p, keep it with probability α(x), else draw from q. The law is p·α + (1 − E_p α)·q (docs/math.md §4).
"""

from __future__ import annotations

import math

import numpy as np

from gsi_node.core.weights import Floats
from gsi_node.errors import ConfigError
from gsi_node.types import Array


def threshold_log_accept(value: float, threshold: float) -> float:
    """log α = 0 where value ≥ threshold, else −inf (arXiv 2506.04118: r̃_{i*} ≥ u; a tie accepts). Nats."""
    return 0.0 if value >= threshold else -math.inf


def weight_log_accept(log_w: Floats, log_c: float) -> Array:
    """log α = min(0, log w − log c), elementwise (arXiv 2407.20444: α(x) = min(1, w(x) / c)). Nats."""
    return np.minimum(0.0, np.asarray(log_w, dtype=np.float64) - log_c)


def mean_weight_log_accept(log_mean_weight: float, log_c: float) -> float:
    """log α = min(0, log w̄ − log c): the importance-corrected acceptance of a whole batch (docs/math.md §5). Nats."""
    return float(weight_log_accept([log_mean_weight], log_c)[0])


def replaced_law(p: Floats, accept_prob: Floats, q: Floats) -> Array:
    """The law p·α + (1 − E_p α)·q on a finite space; p, α, q of shape (states,)."""
    return joined_law(np.asarray(p, dtype=np.float64) * np.asarray(accept_prob, dtype=np.float64), q)


def joined_law(accepted: Floats, q: Floats) -> Array:
    """The same law from its accepted mass p·α, shape (states,), and the replacement's law q."""
    kept = np.asarray(accepted, dtype=np.float64)
    return kept + max(0.0, 1.0 - math.fsum(kept)) * np.asarray(q, dtype=np.float64)


def calibrate_log_ratio_clip(log_ratios: Floats, quantile: float = 0.95) -> float:
    """The given quantile of ℓ over a calibration set's candidates, drawn from π_S: expgsi's clip. Nats.

    A candidate that π_B cannot make (ℓ = −inf) counts. Since E_S[e^ℓ] ≤ 1, the true quantile is at most
    −ln(1 − quantile), whatever the models (docs/math.md §6). Raises ConfigError where no finite quantile exists.
    """
    logs = np.sort(np.asarray(log_ratios, dtype=np.float64))
    if logs.ndim != 1 or logs.size == 0 or np.isnan(logs).any() or (logs == math.inf).any():
        raise ConfigError("log_ratios: want a non-empty sequence of log-ratios below +inf, one a calibration candidate")
    if not 0.0 < quantile <= 1.0:
        raise ConfigError(f"quantile: want a number in (0, 1], got {quantile}")
    clip = float(logs[math.ceil(quantile * logs.size) - 1])
    if clip == -math.inf:
        raise ConfigError(f"quantile {quantile} of the log-ratios is -inf: the base can make almost none of them")
    return clip


def log_resampling_factor(log_accept: Floats, accept_prob: float) -> Array:
    """log(α + 1 − E_p α): what replacing the refused by fresh draws of p itself adds to log p (docs/math.md §9). Nats.

    This is `replaced_law` at q = p, pointwise: p' = p·α + (1 − E_p α)·p. log_accept: log α at each point, ≤ 0;
    accept_prob: E_p α. The factor lies between 1 − E_p α and 2 − E_p α.
    """
    with np.errstate(divide="ignore"):  # E α = 1 and α = 0: such a point has no mass left
        return np.log(np.exp(np.asarray(log_accept, dtype=np.float64)) + (1.0 - accept_prob))


def calibrate_threshold(values: Floats, fallback_rate: float) -> float:
    """A number below which the share fallback_rate of the values lie, as nearly as they allow; ties go to the smaller.

    values: r or r̃ of the chosen candidates of calibration batches, −inf for a batch that is always refused. In the
    middle of the gap it falls into. Raises ConfigError where there is no value, or the rate is out of reach.
    """
    if not 0.0 <= fallback_rate < 1.0 or len(values) == 0:
        raise ConfigError(f"fallback: want a share in [0, 1) of some batches, got {fallback_rate:g} of {len(values)}")
    ordered = sorted(map(float, values))
    place = round(fallback_rate * len(ordered))
    above = ordered[min(place, len(ordered) - 1)]
    if above == -math.inf:
        impossible = sum(value == -math.inf for value in ordered) / len(ordered)
        raise ConfigError(
            f"fallback {fallback_rate:g} is out of reach: {impossible:.3f} of the batches are always refused"
        )
    below = ordered[place - 1] if place else above - 2e-3
    return above if below in (above, -math.inf) else (below + above) / 2


def calibrate_log_c(log_mean_weights: Floats, fallback_rate: float) -> float:
    """log c with mean_b min(1, w̄_b / c) = 1 − fallback_rate over calibration batches b (docs/math.md §5). Nats.

    For rejection–resampling a batch is one particle: its log-weight, and the wanted rate of rejection.

    The acceptance rate is monotone in c, so log c is found by bisection. Raises ConfigError where fallback_rate is
    outside [0, 1), or below the share of batches whose weights are all zero (no c accepts those).
    """
    logs = np.asarray(log_mean_weights, dtype=np.float64)
    if logs.ndim != 1 or logs.size == 0 or np.isnan(logs).any() or (logs == math.inf).any():
        raise ConfigError("log_mean_weights: want a non-empty sequence of log w̄ below +inf, one a calibration batch")
    if not 0.0 <= fallback_rate < 1.0:
        raise ConfigError(f"fallback_rate: want a number in [0, 1), got {fallback_rate}")
    wanted = 1.0 - fallback_rate
    finite = logs[logs > -math.inf]
    if finite.size < wanted * logs.size:
        raise ConfigError(
            f"fallback_rate {fallback_rate} is out of reach: {1 - finite.size / logs.size:.3f} of the calibration "
            "batches have weights that are all zero and always fall back"
        )
    low, high = float(finite.min()), float(finite.max()) - math.log(wanted)
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return low
        if float(np.exp(np.minimum(0.0, finite - middle)).sum()) >= wanted * logs.size:
            low = middle
        else:
            high = middle
