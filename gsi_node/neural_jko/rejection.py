"""One rejection–resampling layer: p'(x) = p(x)·(α(x) + 1 − E_p α), α = min(1, w / c), w = g / p (arXiv 2407.20444 §4).

A refused particle is replaced once by a fresh draw of p and not tested again. The formulas are core/accept.py's, which
GSI's importance-corrected acceptance uses too; all weights are float64 and in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """log_c: the acceptance's constant, nats. accept_prob: E_p α as estimated on a batch of its own."""

    log_c: float
    accept_prob: float

    def updated(self, particles: Particles) -> tuple[Particles, Array]:
        """The same points under the new density, and log α at each of them under the old one."""
        log_accept = weight_log_accept(particles.log_weights(), self.log_c)
        factor = torch.from_numpy(log_resampling_factor(log_accept, self.accept_prob)).to(particles.log_prob)
        return Particles(particles.x, particles.log_prob + factor, particles.log_g), log_accept

    def refused(self, log_accept: Array, uniforms: Array) -> NDArray[np.intp]:
        """Which particles are replaced: those with u ≥ α, u uniform on [0, 1); indices, ascending."""
        return np.flatnonzero(uniforms >= np.exp(log_accept))


def wanted_log_c(particles: Particles, rate: float) -> float:
    """log c for which a share `rate` of these particles is refused. Raises DegenerateWeights: no weight is positive."""
    log_w = particles.log_weights()
    dead = int((log_w == -np.inf).sum())
    if dead > rate * len(log_w):
        raise DegenerateWeights(
            f"{dead} of {len(log_w)} particles have weight zero, more than the rejection rate {rate}: the target has "
            "no mass where the model puts its own; move or widen the latent (latent_mean, latent_scale)"
        )
    return calibrate_log_c(log_w, rate)


def mean_accept(particles: Particles, log_c: float) -> float:
    """E_p α, estimated on particles that played no part in the choice of c."""
    return float(np.exp(weight_log_accept(particles.log_weights(), log_c)).mean())
