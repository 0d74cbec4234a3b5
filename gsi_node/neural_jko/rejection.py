"""One rejection–resampling layer: p'(x) = p(x)·(α(x) + 1 − E_p α), α = min(1, w / c), w = g / p (arXiv 2407.20444 §4).

A refused particle is replaced once by a fresh draw of p and not tested again. The formulas are core/accept.py's, which
GSI's importance-corrected acceptance uses too; all weights are float64 and in nats.

Layers on one flow multiply its density p_0 by factors that depend on a point's weight alone, so the draws of p_0
stand for those of every layer, with weights h = p_k / p_0: c and E α need no draws of the layers below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsi_node.core.accept import calibrate_log_c, log_resampling_factor, weight_log_accept
from gsi_node.errors import DegenerateWeights
from gsi_node.types import Array


@dataclass(frozen=True, slots=True)
class Particles:
    """n independent draws x (n, dim) of a density p, their log p and (None: not evaluated here) log g, float64 (n,)."""

    x: Tensor
    log_prob: Tensor
    log_g: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which: slice | Tensor) -> Particles:
        return Particles(self.x[which], self.log_prob[which], None if self.log_g is None else self.log_g[which])

    def log_weights(self) -> Array:
        """log w = log g − log p, shape (n,)."""
        assert self.log_g is not None
        return np.asarray((self.log_g - self.log_prob).cpu().numpy(), dtype=np.float64)


def joined(first: Particles, second: Particles) -> Particles:
    both = first.log_g is not None and second.log_g is not None
    log_g = torch.cat([first.log_g, second.log_g]) if both else None  # type: ignore[list-item]
    return Particles(torch.cat([first.x, second.x]), torch.cat([first.log_prob, second.log_prob]), log_g)


@dataclass(frozen=True, slots=True)
class Rejection:
    """log_c: the acceptance's constant, nats. accept_prob: E_p α, estimated on draws that played no part in c.

    error: the standard error, from E α of this layer and those below it on the same flow, of log ∫ p' = 0. ess: of the
    weights g / p', the share of an effective sample.
    """

    log_c: float
    accept_prob: float
    error: float = 0.0
    ess: float = 0.0

    def updated(self, particles: Particles) -> tuple[Particles, Array]:
        """The same points under the new density, and log α at each of them under the old one."""
        log_accept = weight_log_accept(particles.log_weights(), self.log_c)
        factor = torch.from_numpy(log_resampling_factor(log_accept, self.accept_prob)).to(particles.log_prob)
        return Particles(particles.x, particles.log_prob + factor, particles.log_g), log_accept

    def refused(self, log_accept: Array, uniforms: Array) -> NDArray[np.intp]:
        """Which particles are replaced: those with u ≥ α, u uniform on [0, 1); indices, ascending."""
        return np.flatnonzero(uniforms >= np.exp(log_accept))


@dataclass(slots=True)
class WeightPool:
    """Draws of a flow's density p_0, by their log-weights log g − log p_0 (n,), as draws of the layers above it.

    log_h: log p_k / p_0 at each of them, for the layers so far.
    """

    log_w: Array
    log_h: Array = field(init=False)

    def __post_init__(self) -> None:
        self.log_h = np.zeros_like(self.log_w)

    def wanted_log_c(self, rate: float) -> float:
        """log c for which the next layer refuses a share `rate`. Raises DegenerateWeights: too many weights are zero.

        Of the draws resampled by h at even steps, so that every one counts as often as p_k has it.
        """
        shares = np.exp(self.log_h)
        steps = (np.arange(len(shares)) + 0.5) / len(shares)
        kept = np.searchsorted(np.cumsum(shares) / shares.sum(), steps).clip(max=len(shares) - 1)
        log_w = (self.log_w - self.log_h)[kept]
        dead = int((log_w == -np.inf).sum())
        if dead > rate * len(log_w):
            raise DegenerateWeights(
                f"{dead} of {len(log_w)} particles have weight zero, more than the rejection rate {rate}: the target "
                "has no mass where the model puts its own; take another seed, or a latent of your own (coordinates="
                "latent, latent_mean, latent_scale)"
            )
        return calibrate_log_c(log_w, rate)

    def add(self, log_c: float) -> Rejection:
        """The layer of that c, with E α = Σ h α / Σ h of these draws, which then stand for draws of the layer."""
        log_accept = weight_log_accept(self.log_w - self.log_h, log_c)
        shares = np.exp(self.log_h)
        accept_prob = float((shares * np.exp(log_accept)).sum() / shares.sum())
        self.log_h = self.log_h + log_resampling_factor(log_accept, accept_prob)
        return Rejection(log_c, accept_prob, self.spread / math.sqrt(len(self.log_w)), self.ess)

    @property
    def spread(self) -> float:
        """The standard deviation of h under p_0. Over √n it is the error of Σ h / n, which E α keeps at 1 here."""
        return float(np.exp(self.log_h).std())

    @property
    def ess(self) -> float:
        """(Σ w)² / (Σ h Σ w²/h): the effective share of draws of h p_0, by their weights."""
        w = np.exp(self.log_w - self.log_w.max())
        h = np.exp(self.log_h)
        return float(w.sum() ** 2 / (h.sum() * (w**2 / h).sum()))


class RejectionPlan(NamedTuple):
    """At most `layers` that refuse a share `rate` each, none after one whose ESS is `enough`; None: all of them."""

    layers: int
    rate: float
    enough: float | None = None


def fit_rejections(calibration: WeightPool, weighing: WeightPool, plan: RejectionPlan) -> list[Rejection]:
    """The plan's layers: each c from the first pool, each E α and ESS from the second, whose draws had no part in c."""
    layers: list[Rejection] = []
    for _ in range(plan.layers):
        log_c = calibration.wanted_log_c(plan.rate)
        calibration.add(log_c)
        layers.append(weighing.add(log_c))
        if plan.enough is not None and layers[-1].ess >= plan.enough:
            break
    return layers


class Outlook(NamedTuple):
    """Of layers that are not made yet. spread: of h = p_n / p_0, which E α's draws must average. ess: after them."""

    spread: float
    ess: float


def outlook(log_w: Array, plan: RejectionPlan) -> Outlook:
    """What the plan's layers do, from weights under p_0."""
    pool = WeightPool(log_w)
    fit_rejections(WeightPool(log_w), pool, plan)
    return Outlook(pool.spread, pool.ess)


def log_z_error(layers: Sequence[object]) -> float:
    """Standard error of log ∫ p over a whole stack's layers: of the last rejection layer on each flow, in squares."""
    last = [a for a, b in pairwise([*layers, None]) if isinstance(a, Rejection) and not isinstance(b, Rejection)]
    return math.sqrt(sum(layer.error**2 for layer in last))
