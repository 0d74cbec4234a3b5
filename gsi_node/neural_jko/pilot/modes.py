"""Modes of log g: ascents from starts ever further out, kept where they are new and weigh something."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gsi_node.neural_jko.pilot.locate import Cloud, ascend, normal
from gsi_node.neural_jko.pilot.probe import Probe

ROUNDS, STARTS, ITERATIONS, LOOKED_AT = 8, 24, 40, 12
LIGHTEST = 6.0  # nats below log Z: a mode of less mass is left out


class Mode(NamedTuple):
    """A maximum x (dim,) of log g, log g there, and the covariance (dim, dim) of its Laplace approximation."""

    x: Tensor
    log_g: float
    covariance: Tensor

    @property
    def log_mass(self) -> float:
        """log of g(x) (2π)^{dim/2} |covariance|^{1/2}: Laplace's estimate of the mass under it, nats."""
        return (
            self.log_g
            + 0.5 * len(self.x) * math.log(2 * math.pi)
            + 0.5 * float(torch.linalg.slogdet(self.covariance)[1])
        )

    def covers(self, point: Tensor) -> bool:
        """Squared Mahalanobis distance below 4 dim: this mode's own points, not a new one's."""
        away = point - self.x
        return float(away @ torch.linalg.solve(self.covariance, away)) < 4 * len(self.x)


class ModeBox(NamedTuple):
    """The modes, and the box that holds them and the cloud: its centre and a quarter of its width, (dim,) each."""

    modes: list[Mode]
    centre: Tensor
    spread: Tensor


def find_modes(probe: Probe, cloud: Cloud, generator: torch.Generator, budget: int) -> ModeBox:
    """Rounds of ascents from N(box's centre, (4 spread)²), 3 once two modes are known; two empty rounds end it."""
    dim, stop = len(cloud.mean), probe.count + budget
    modes: list[Mode] = []
    centre, spread, empty = cloud.mean, cloud.spread, 0
    for _ in range(ROUNDS):
        reach = 3.0 if len(modes) > 1 else 4.0
        starts = centre + reach * spread * normal(generator, STARTS, dim)
        new = _new_modes(probe, starts, spread, modes, cloud.log_z - LIGHTEST)
        modes += new
        if modes:
            at = torch.stack([mode.x for mode in modes])
            low = torch.minimum(at.min(0).values, cloud.mean - 2 * cloud.spread)
            high = torch.maximum(at.max(0).values, cloud.mean + 2 * cloud.spread)
            centre = 0.5 * (low + high)
            spread = torch.maximum(0.25 * (high - low), cloud.spread if new else spread)
        empty = 0 if new else empty + 1
        if empty == 2 or probe.count > stop - STARTS * ITERATIONS // 2:
            break
        if not new and len(modes) < 2:
            spread = 4.0 * spread
    return ModeBox(modes, centre, spread)


def _new_modes(probe: Probe, starts: Tensor, spread: Tensor, known: list[Mode], lightest: float) -> list[Mode]:
    ends = ascend(probe, starts, float(spread.mean()), ITERATIONS)
    distinct: list[int] = []
    for i in ends.log_g.argsort(descending=True).tolist():
        usable = bool(torch.isfinite(ends.x[i]).all()) and math.isfinite(float(ends.log_g[i]))
        if usable and all(float(((ends.x[i] - ends.x[j]) / spread).norm()) > 0.02 for j in distinct):
            distinct.append(i)
    new: list[Mode] = []
    for i in distinct[:LOOKED_AT]:
        if any(mode.covers(ends.x[i]) for mode in (*known, *new)):
            continue
        covariance = laplace(probe, ends.x[i], ends.inverse_hessian[i], spread)
        if covariance is not None:
            mode = Mode(ends.x[i], float(ends.log_g[i]), covariance)
            new += [mode] if mode.log_mass > lightest else []
    return new


def laplace(probe: Probe, x: Tensor, inverse_hessian: Tensor, spread: Tensor) -> Tensor | None:
    """(−∇² log g)⁻¹ by central differences of the gradient, no wider than ten spreads; None where it is not finite."""
    width = 1e-3 * torch.minimum(inverse_hessian.diagonal().clamp(min=1e-300).sqrt(), spread)
    _, slopes = probe.gradient(torch.cat([x + torch.diag(width), x - torch.diag(width)]))
    hessian = (slopes[len(x) :] - slopes[: len(x)]) / (2 * width[:, None])
    if not bool(torch.isfinite(hessian).all()):
        return None
    values, vectors = torch.linalg.eigh(0.5 * (hessian + hessian.t()) * spread[:, None] * spread)
    scaled = vectors @ torch.diag(1.0 / values.abs().clamp(min=1e-2)) @ vectors.t()
    return torch.as_tensor(spread[:, None] * scaled * spread)
