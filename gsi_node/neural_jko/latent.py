"""What a stack starts from: N(0, I) in z, or a mixture of Gaussians where that is too far from it for one flow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gsi_node.neural_jko.frame import AffineFrame

ENTROPY_DRAWS = 4096


def latent_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I), float64 (n,)."""
    return -0.5 * z.double().square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


@dataclass(frozen=True, slots=True)
class NormalLatent:
    """N(0, I) on R^dim."""

    dim: int
    device: str | torch.device = "cpu"

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn((n, self.dim), generator=generator, device=self.device)

    def log_prob(self, z: Tensor) -> Tensor:
        return latent_log_prob(z)

    def on(self, device: str | torch.device) -> NormalLatent:
        return NormalLatent(self.dim, device)


@dataclass(frozen=True, slots=True)
class GaussianMixture:
    """Σ_k w_k N(c_k, L_k L_kᵀ): log w (k,), centres (k, dim), lower triangular factors (k, dim, dim); float64."""

    log_weights: Tensor
    centres: Tensor
    factors: Tensor

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n draws, float32 (n, dim)."""
        which = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        normal = torch.randn((n, self.centres.shape[1]), generator=generator, device=self.centres.device).double()
        z = self.centres[which]
        for k, factor in enumerate(self.factors):
            z[which == k] += normal[which == k] @ factor.t()
        return z.float()

    def log_prob(self, z: Tensor) -> Tensor:
        """float64 (n,), nats; differentiable."""
        parts = []
        for log_weight, centre, factor in zip(self.log_weights, self.centres, self.factors, strict=True):
            white = torch.linalg.solve_triangular(factor, (z.double() - centre).t(), upper=False)
            parts.append(log_weight + latent_log_prob(white.t()) - factor.diagonal().log().sum())
        return torch.logsumexp(torch.stack(parts), 0)

    def on(self, device: str | torch.device) -> GaussianMixture:
        return GaussianMixture(self.log_weights.to(device), self.centres.to(device), self.factors.to(device))

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (dim,) and covariance (dim, dim)."""
        weights = self.log_weights.exp()
        mean = weights @ self.centres
        away = self.centres - mean
        within = (weights[:, None, None] * (self.factors @ self.factors.transpose(1, 2))).sum(0)
        return mean, within + (weights[:, None] * away).t() @ away

    def gap(self, generator: torch.Generator) -> float:
        """KL(self ‖ the Gaussian of its moments), nats: what a flow from N(0, I) has to make up in any frame."""
        dim = self.centres.shape[1]
        gaussian = 0.5 * dim * math.log(2 * math.pi * math.e) + 0.5 * float(torch.linalg.slogdet(self.moments[1])[1])
        return gaussian + float(self.log_prob(self.draw(ENTROPY_DRAWS, generator)).mean())

    def in_frame(self, frame: AffineFrame) -> GaussianMixture:
        """The law of z for this law of x."""
        inner = torch.linalg.solve(frame.matrix, self.factors)
        factors = torch.linalg.cholesky(inner @ inner.transpose(1, 2))
        return GaussianMixture(self.log_weights, frame.to_z(self.centres), factors)


Latent = NormalLatent | GaussianMixture
