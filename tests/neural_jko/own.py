"""Densities that no setting was chosen for, their parameters drawn from a seed, with samplers; all normalised."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TWO_PI = 2 * math.pi


class OwnTruth(NamedTuple):
    """A density with its ground truth; satisfies KnownTarget."""

    name: str
    dim: int
    log_density: Callable[[Tensor], Tensor]
    sample: Callable[[int, torch.Generator], Tensor]
    log_z: float = 0.0


def _normal(n: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)


def rotation(dim: int, generator: torch.Generator) -> Tensor:
    return torch.as_tensor(torch.linalg.qr(_normal(dim, dim, generator))[0])


def two_modes(seed: int) -> OwnTruth:
    """0.75 N(a, A) + 0.25 N(b, B) in four dimensions: correlated, scales from 1 to 30, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    dim, shares = 4, (0.75, 0.25)
    scale = torch.logspace(0, 1.5, dim, dtype=torch.float64)[torch.randperm(dim, generator=generator)]
    centre = 100.0 * _normal(1, dim, generator)[0]
    apart = 5.0 * scale * rotation(dim, generator)[0]
    means = torch.stack([centre, centre + apart])
    factors = []
    shape = torch.diag(torch.linspace(0.1, 1.0, dim, dtype=torch.float64))
    for _ in shares:
        turn = rotation(dim, generator)
        factors.append(torch.linalg.cholesky(scale[:, None] * (turn @ shape @ turn.t()) * scale))

    def log_density(x: Tensor) -> Tensor:
        parts = []
        for share, mean, factor in zip(shares, means, factors, strict=True):
            z = torch.linalg.solve_triangular(factor, (x.double() - mean).t(), upper=False)
            constant = math.log(share) - float(factor.diagonal().log().sum()) - 0.5 * dim * math.log(TWO_PI)
            parts.append(constant - 0.5 * z.square().sum(0))
        return torch.logsumexp(torch.stack(parts), 0).to(x)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        second = torch.rand(n, generator=generator, dtype=torch.float64) >= shares[0]
        z = _normal(n, dim, generator)
        return torch.where(second[:, None], means[1] + z @ factors[1].t(), means[0] + z @ factors[0].t())

    return OwnTruth(f"two-modes-{seed}", dim, log_density, sample)


def banana(seed: int) -> OwnTruth:
    """y_1 = z_1, y_2 = z_2 / 2 + 1.5 (z_1² − 1), the rest normal; x = shift + 30 Q y with Q a rotation; dim 6."""
    generator = torch.Generator().manual_seed(seed)
    dim, size = 6, 30.0
    turn, shift = rotation(dim, generator), 200.0 * _normal(1, dim, generator)[0]
    scale = torch.exp(0.5 * _normal(1, dim, generator)[0])
    scale[:2] = torch.tensor([1.0, 0.5], dtype=torch.float64)
    constant = -float(scale.log().sum()) - dim * math.log(size) - 0.5 * dim * math.log(TWO_PI)

    def log_density(x: Tensor) -> Tensor:
        y = (x.double() - shift) @ turn / size
        bent = y[:, 1] - 1.5 * (y[:, 0].square() - 1.0)
        z = torch.cat([y[:, :1], bent[:, None], y[:, 2:]], 1) / scale
        return (constant - 0.5 * z.square().sum(1)).to(x)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        z = _normal(n, dim, generator) * scale
        bent = z[:, 1] + 1.5 * (z[:, 0].square() - 1.0)
        return shift + size * torch.cat([z[:, :1], bent[:, None], z[:, 2:]], 1) @ turn.t()

    return OwnTruth(f"banana-{seed}", dim, log_density, sample)


def student(seed: int) -> OwnTruth:
    """Independent Student-t of 4 degrees, scales over four decades; dim 5."""
    generator = torch.Generator().manual_seed(seed)
    dim, degrees = 5, 4
    scale = torch.logspace(-2, 2, dim, dtype=torch.float64)[torch.randperm(dim, generator=generator)]
    centre = 3.0 * scale * _normal(1, dim, generator)[0]
    each = math.lgamma(0.5 * (degrees + 1)) - math.lgamma(0.5 * degrees) - 0.5 * math.log(degrees * math.pi)
    constant = dim * each - float(scale.log().sum())

    def log_density(x: Tensor) -> Tensor:
        z = (x.double() - centre) / scale
        return (constant - 0.5 * (degrees + 1) * torch.log1p(z.square() / degrees).sum(1)).to(x)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        chi = torch.randn(n, dim, degrees, generator=generator, dtype=torch.float64).square().sum(2) / degrees
        return centre + scale * _normal(n, dim, generator) / chi.sqrt()

    return OwnTruth(f"student-{seed}", dim, log_density, sample)


def rings(seed: int) -> OwnTruth:
    """In the plane, radius N(r_k, 0.1²) with shares in proportion to k = 1, 2, 3, angle uniform; r_k about k."""
    generator = torch.Generator().manual_seed(seed)
    radii = torch.arange(1.0, 4.0, dtype=torch.float64) + 0.2 * (torch.rand(3, generator=generator).double() - 0.5)
    shares, width, shift = torch.tensor([1.0, 2.0, 3.0]).double() / 6.0, 0.1, 5.0 * _normal(1, 2, generator)[0]

    def log_density(x: Tensor) -> Tensor:
        r = (x.double() - shift).norm(dim=1).clamp(min=1e-12)
        parts = shares.log() - 0.5 * ((r[:, None] - radii) / width).square() - math.log(width * math.sqrt(TWO_PI))
        return torch.as_tensor(torch.logsumexp(parts, 1) - math.log(TWO_PI) - r.log()).to(x)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(shares, n, replacement=True, generator=generator)
        r = radii[which] + width * _normal(n, 1, generator)[:, 0]
        angle = TWO_PI * torch.rand(n, generator=generator, dtype=torch.float64)
        return shift + r[:, None] * torch.stack([angle.cos(), angle.sin()], 1)

    return OwnTruth(f"rings-{seed}", 2, log_density, sample)


OWN = {"two-modes": two_modes, "banana": banana, "student": student, "rings": rings}
