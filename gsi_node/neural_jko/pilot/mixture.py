"""Adaptive importance sampling with Student-t components, all points kept under the mixture of all components.

Incremental mixture importance sampling (Raftery and Bao 2010), with t components and weights g / Σ_c (N_c / N) t_c.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gsi_node.neural_jko.pilot.locate import normal
from gsi_node.neural_jko.pilot.points import WeightedPoints
from gsi_node.neural_jko.pilot.probe import Probe

DEGREES = 5  # of freedom of a component, at least; half the dimension beyond: tails that weights can still carry
Component = tuple[Tensor, Tensor, int]  # centre (dim,), Cholesky factor (dim, dim), draws
TOGETHER, DRAWS = 4, 120  # components a round, and the draws of each
GROWTH = 3.0  # of a component's covariance over that of the points it is made of
REACH = 0.25  # share of ESS that the power of every other round leaves to g


class StudentMixture:
    """The points so far: x (n, dim), log g (n,), and log Σ_c N_c t_c(x), the draws of all components included."""

    def __init__(self, dim: int) -> None:
        self.dim, self.degrees = dim, max(DEGREES, dim // 2)
        self.components: list[Component] = []
        self.x = torch.empty(0, dim, dtype=torch.float64)
        self.log_g = torch.empty(0, dtype=torch.float64)
        self.log_sum = torch.empty(0, dtype=torch.float64)

    def add(self, probe: Probe, components: list[Component], generator: torch.Generator) -> None:
        """Draw from new components."""
        x = torch.cat([self._draw(component, generator) for component in components])
        log_sum = torch.full((len(x),), -math.inf, dtype=torch.float64)
        for component in self.components:
            log_sum = torch.logaddexp(log_sum, self._log_density(x, component))
        self.x, self.log_g = torch.cat([self.x, x]), torch.cat([self.log_g, probe.value(x)])
        self.log_sum = torch.cat([self.log_sum, log_sum])
        for component in components:
            self.log_sum = torch.logaddexp(self.log_sum, self._log_density(self.x, component))
        self.components += components

    @property
    def points(self) -> WeightedPoints:
        return WeightedPoints(self.x, self.log_g, self.log_sum - math.log(len(self.x)))

    def _draw(self, component: Component, generator: torch.Generator) -> Tensor:
        centre, factor, n = component
        chi = normal(generator, n, self.degrees).square().sum(1, keepdim=True) / self.degrees
        return centre + (normal(generator, n, self.dim) @ factor.t()) / chi.sqrt()

    def _log_density(self, x: Tensor, component: Component) -> Tensor:
        """log N_c t_c(x)."""
        centre, factor, n = component
        z = torch.linalg.solve_triangular(factor, (x - centre).t(), upper=False)
        half = 0.5 * (self.degrees + self.dim)
        constant = (
            math.lgamma(half) - math.lgamma(0.5 * self.degrees) - 0.5 * self.dim * math.log(self.degrees * math.pi)
        )
        volume = float(factor.diagonal().log().sum())
        return constant - volume + math.log(n) - half * torch.log1p(z.square().sum(0) / self.degrees)


def adapt(mixture: StudentMixture, probe: Probe, generator: torch.Generator, reserve: int) -> None:
    """Rounds of new components where the weights are largest, until only `reserve` evaluations are left.

    A component: the heaviest point, and three times the covariance of the points nearest to it (half by their weights,
    half evenly); those points then make no further one in this round. Every other round weighs by g^b instead of g, b
    the power at which a quarter of the ESS is left. Both let proposals reach beyond what is known: what the funnel's
    resample misses falls from ρ = 3.5e-3 to 5e-4 on average, and other targets lose nothing that the noise would show.
    """
    turn = 0
    while probe.left() - reserve >= TOGETHER * DRAWS:
        turn += 1
        points = mixture.points
        weights = torch.softmax(points.log_weights(points.power_for(REACH) if turn % 2 else 1.0), 0)
        ends = WeightedPoints(points.x, weights.log(), torch.zeros_like(weights)).quantiles((0.05, 0.95))
        scale = ((ends[1] - ends[0]) / 3.29).clamp(min=1e-300)
        components: list[Component] = []
        left = weights.clone()
        for _ in range(TOGETHER):
            centre = mixture.x[int(left.argmax())]
            away = ((mixture.x - centre) / scale).square().sum(1)
            near = away.topk(min(DRAWS, len(away)), largest=False).indices
            share = weights[near] / weights[near].sum().clamp(min=1e-300)
            share = 0.5 * (share + 1.0 / len(near))
            offsets = mixture.x[near] - centre
            covariance = (share[:, None] * offsets).t() @ offsets / share.sum()
            components.append((centre, cholesky(GROWTH * covariance), DRAWS))
            left[near] = 0.0
        mixture.add(probe, components, generator)


def cholesky(covariance: Tensor) -> Tensor:
    """Its factor, with 1e-9 of the diagonal added; of the diagonal alone where it has none."""
    diagonal = torch.diag(covariance.diagonal())
    factor, failed = torch.linalg.cholesky_ex(covariance + 1e-9 * diagonal)
    return diagonal.sqrt() if int(failed) else factor
