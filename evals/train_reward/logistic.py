"""Logistic regression with a quadratic penalty, by L-BFGS."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from gsi_node.errors import NumericError
from gsi_node.types import Array

STEPS = 5000
SETTLED = {"maxiter": STEPS, "maxfun": 2 * STEPS, "gtol": 1e-7, "ftol": 1e-13}


def logistic(
    features: Array, targets: Array, weights: Array, strength: float, start: Array, *, bias: bool = True
) -> Array:
    """argmin over (v, b) of ½·|v|² + C · Σ_i w_i · (softplus(z_i) − y_i·z_i),  z_i = v·x_i + b.

    features: x, shape (N, d). targets: y in [0, 1]; weights: w ≥ 0. strength: C > 0. start: (v, b), shape (d + 1,), as
    the result. The bias carries no penalty, so features are centred on the way: the same minimum, found sooner. bias:
    whether there is one; else b = 0. Raises NumericError where the minimum is not found.
    """
    whole = weights.sum()
    shares, penalty = weights / whole, 1 / (strength * whole)
    centre = shares @ features if bias else np.zeros(features.shape[1])
    centred = features - centre

    def loss(theta: Array) -> tuple[float, Array]:
        """The same over C · Σ w, and its gradient."""
        logits = centred @ theta[:-1] + theta[-1]
        error = shares * (expit(logits) - targets)
        value = shares @ (np.logaddexp(0.0, logits) - targets * logits) + penalty * (theta[:-1] @ theta[:-1]) / 2
        return float(value), np.append(error @ centred + penalty * theta[:-1], bias * error.sum())

    begun = np.append(start[:-1], bias * (start[-1] + centre @ start[:-1]))
    found = minimize(loss, begun, jac=True, method="L-BFGS-B", options=SETTLED)
    if not found.success:
        raise NumericError(f"the logistic regression with C = {strength:g} has not settled: {found.message}")
    fitted = np.asarray(found.x, dtype=np.float64)
    return np.append(fitted[:-1], fitted[-1] - centre @ fitted[:-1])


def log_loss(logits: Array, targets: Array, weights: Array) -> float:
    """Σ w_i · (softplus(z_i) − y_i·z_i) / Σ w_i, in nats."""
    return float(weights @ (np.logaddexp(0.0, logits) - targets * logits) / weights.sum())
