"""The paper's test distributions and a wider mixture, with their ground truth.

Sources: arXiv 2407.20444 (definitions: Appendix E). All are normalised (log Z = 0) where they are written down here, so
an estimate of log Z is an error. Points are tensors of shape (n, dim); log-densities in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mixture:
    """g(x) = (1/k) Σ_i N(x; m_i, variance · I): equal weights, one spherical covariance. log Z = 0.

    means: shape (k, dim).
    """

    name: str
    means: Tensor
    variance: float
    log_z: float = 0.0

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    def log_density(self, x: Tensor) -> Tensor:
        means = self.means.to(x)
        squares = (x[:, None, :] - means).square().sum(-1)
        constant = math.log(len(means)) + 0.5 * self.dim * math.log(2 * math.pi * self.variance)
        return torch.logsumexp(-0.5 / self.variance * squares, dim=1) - constant

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        means = self.means.to(generator.device)
        which = torch.randint(len(means), (n,), generator=generator, device=generator.device)
        return means[which] + math.sqrt(self.variance) * _normal(n, self.dim, generator)


@dataclass(frozen=True, slots=True)
class Funnel:
    """v ~ N(0, 9), x_i | v ~ N(0, e^v) for i = 2..dim (Neal 2003): log g = log N(v; 0, 9) + Σ_i log N(x_i; 0, e^v).

    The first coordinate is v. dim = 10 in the paper. log Z = 0.
    """

    dim: int = 10
    log_z: float = 0.0

    @property
    def name(self) -> str:
        return "funnel" if self.dim == 10 else f"funnel{self.dim}"

    def log_density(self, x: Tensor) -> Tensor:
        v, rest = x[:, 0], x[:, 1:]
        scaled = torch.exp(-v) * rest.square().sum(1)
        constant = 0.5 * self.dim * math.log(2 * math.pi) + math.log(3.0)
        return -0.5 * (v.square() / 9.0 + scaled + (self.dim - 1) * v) - constant

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        z = _normal(n, self.dim, generator)
        v = 3.0 * z[:, :1]
        return torch.cat([v, torch.exp(0.5 * v) * z[:, 1:]], dim=1)


@dataclass(frozen=True, slots=True)
class Mustache:
    """g(x) = N(T(x); 0, Σ), T(x) = (x_1, x_2 − (x_1² − 1)²), Σ = [[1, 0.9], [0.9, 1]]; dim 2.

    T is triangular with Jacobian determinant 1, so log Z = 0 and T⁻¹ of a Gaussian draw is a draw from g.
    """

    name: str = "mustache"
    dim: int = 2
    correlation: float = 0.9
    log_z: float = 0.0

    def log_density(self, x: Tensor) -> Tensor:
        rest = 1.0 - self.correlation**2
        first = x[:, 0]
        second = (x[:, 1] - (first.square() - 1.0).square()) - self.correlation * first
        return -0.5 * (first.square() + second.square() / rest) - math.log(2 * math.pi * math.sqrt(rest))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        z = _normal(n, 2, generator)
        first = z[:, 0]
        second = self.correlation * first + math.sqrt(1.0 - self.correlation**2) * z[:, 1]
        return torch.stack([first, second + (first.square() - 1.0).square()], dim=1)


def eight_modes(variance: float = 0.01, name: str = "8modes") -> Mixture:
    """Eight modes on the unit circle around (−1, 0), m_i = (cos(2πi/8) − 1, sin(2πi/8)), variance 0.01; dim 2."""
    angles = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
    return Mixture(name, torch.stack([angles.cos() - 1.0, angles.sin()], dim=1), variance)


def gmm(dim: int, seed: int = 0) -> Mixture:
    """Ten modes with means uniform on [−1, 1]^dim (drawn from `seed`), variance 0.01. The paper: dim 10 … 200."""
    return Mixture(f"gmm{dim}", _scattered(10, dim, 1.0, seed), 0.01)


def mog40(seed: int = 0) -> Mixture:
    """Forty modes in 50 dimensions with means uniform on [−40, 40]^50 (drawn from `seed`), variance 1."""
    return Mixture("mog40", _scattered(40, 50, 40.0, seed), 1.0)


def _scattered(modes: int, dim: int, width: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return width * (2.0 * torch.rand((modes, dim), generator=generator, dtype=torch.float64) - 1.0)


def _normal(n: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.randn((n, dim), generator=generator, dtype=torch.float64, device=generator.device)
