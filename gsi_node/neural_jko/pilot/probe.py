"""Evaluations of log g for the pilot: float64, counted, and free of the density's additive constant."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gsi_node.cancel import check_cancelled
from gsi_node.errors import ConfigError, InvalidLogProb

LogDensity = Callable[[Tensor], Tensor]
GRAIN = 2.0**-20  # nats


class Probe:
    """log g(x) − reference at points (n, dim), on a grid of 2⁻²⁰ nats; `count` evaluations so far.

    reference: the largest log g of the first points asked, which lie at every scale.

    The grid makes the pilot's decisions the same, bit for bit, when a constant is added to log g (one of a size that
    leaves the twentieth binary place of log g intact). A value with its gradient counts as one evaluation. NaN counts
    as no mass: far out, densities overflow.
    """

    def __init__(self, log_density: LogDensity, budget: int) -> None:
        self._log_density = log_density
        self.budget = budget
        self.count = 0
        self.reference: float | None = None  # nats

    def left(self) -> int:
        """Evaluations that remain."""
        return self.budget - self.count

    def value(self, x: Tensor) -> Tensor:
        """(n,), nats. Raises InvalidLogProb for +inf, ConfigError for another shape."""
        with torch.no_grad():
            return self._checked(x, self._log_density(x))

    def gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The values (n,) and ∇ log g (n, dim), 0 where it is not finite."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            raw = self._log_density(x)
            finite = torch.where(torch.isfinite(raw), raw, torch.zeros_like(raw))
            (slope,) = torch.autograd.grad(finite.sum(), x)
        return self._checked(x, raw.detach()), torch.nan_to_num(slope.double(), 0.0, 0.0, 0.0)

    def _checked(self, x: Tensor, raw: Tensor) -> Tensor:
        check_cancelled()
        self.count += len(x)
        if raw.shape != x.shape[:1]:
            raise ConfigError(
                f"log_density of points {tuple(x.shape)} has shape {tuple(raw.shape)}; want ({len(x)},), one a point"
            )
        values = raw.double()
        if bool((values == math.inf).any()):
            at = int(torch.nonzero(values == math.inf)[0])
            raise InvalidLogProb(f"log-density +inf at {x[at].tolist()}; −inf is the value where there is no mass")
        values = torch.where(torch.isnan(values), -math.inf, values)
        if self.reference is None and bool(torch.isfinite(values).any()):
            self.reference = float(values[torch.isfinite(values)].max())
        return torch.round((values - (self.reference or 0.0)) / GRAIN) * GRAIN


def log_mean_exp(values: Tensor) -> float:
    """log((1/n) Σ exp v_i)."""
    return float(torch.logsumexp(values, 0)) - math.log(len(values))


def ess_share(log_w: Tensor) -> float:
    """(Σ w)² / (n Σ w²) in (0, 1]: the effective share of n weights."""
    log_w = torch.where(torch.isnan(log_w), -math.inf, log_w)
    return math.exp(2 * float(torch.logsumexp(log_w, 0)) - float(torch.logsumexp(2 * log_w, 0))) / len(log_w)


def largest(reaches: Callable[[float], bool], low: float, high: float) -> float:
    """By bisection, the largest value in [low, high] for which a decreasing condition holds; `low` where none does."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return low


def robust_spread(x: Tensor) -> Tensor:
    """(q95 − q05) / 3.29 of each coordinate: the standard deviation of a Gaussian, blind to 5 % at either end."""
    ends = torch.quantile(x, torch.tensor([0.05, 0.95], dtype=x.dtype), dim=0)
    return ((ends[1] - ends[0]) / 3.29).clamp(min=1e-300)
