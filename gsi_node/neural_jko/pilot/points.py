"""Weighted points: what the pilot knows of a density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gsi_node.neural_jko.pilot.probe import ess_share, largest


@dataclass(frozen=True, slots=True)
class WeightedPoints:
    """Points x (n, dim) drawn from q, with log g and log q (n,), float64; q is normalised, g is not. Nats."""

    x: Tensor
    log_g: Tensor
    log_q: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def log_weights(self, power: float = 1.0) -> Tensor:
        """log of g^power / q, (n,)."""
        return power * self.log_g - self.log_q

    @property
    def log_z(self) -> float:
        """log((1/n) Σ g / q)."""
        return float(torch.logsumexp(self.log_weights(), 0)) - math.log(len(self))

    @property
    def mean_log_weight(self) -> float:
        """log ∫ g − KL(q ‖ g / ∫ g), nats."""
        return float(self.log_weights().mean())

    @property
    def share(self) -> float:
        """The effective sample size by the weights, as a share of the number of points."""
        return ess_share(self.log_weights())

    def power_for(self, share: float) -> float:
        """The lowest b for which g^b, as a proposal for g, has an effective sample size of at least `share`.

        ESS = (∫ g)² / (∫ g^b ∫ g^{2−b}), each integral by the weighted points.
        """
        log_w = self.log_weights()
        log_w, tilt = log_w - torch.logsumexp(log_w, 0), self.log_g - self.log_g.max()
        tilt = torch.where(log_w > -math.inf, tilt, torch.zeros_like(tilt))

        def falls_short(power: float) -> bool:
            up = torch.logsumexp(log_w + (1 - power) * tilt, 0)
            down = torch.logsumexp(log_w - (1 - power) * tilt, 0)
            return -float(up + down) < math.log(share)

        return largest(falls_short, 1e-3, 1.0)

    def resampled(self, n: int, generator: torch.Generator, power: float = 1.0) -> Tensor:
        """n points that follow g^power, with repetitions, in random order: (n, dim)."""
        kept = systematic(torch.softmax(self.log_weights(power), 0), n, generator)
        return self.x[kept[torch.randperm(n, generator=generator)]]

    def truncated(self) -> WeightedPoints:
        """Weights above √n times their mean are cut down to it: less variance for a little bias (Ionides 2008)."""
        most = self.log_z + 0.5 * math.log(len(self))
        return WeightedPoints(self.x, self.log_g, torch.maximum(self.log_q, self.log_g - most))

    def quantiles(self, shares: tuple[float, ...]) -> Tensor:
        """Of each coordinate under g: (len(shares), dim)."""
        weights = torch.softmax(self.log_weights(), 0)
        order = self.x.argsort(0)
        sums = weights[order].cumsum(0)
        at = torch.stack([(sums < share).sum(0) for share in shares]).clamp(max=len(self) - 1)
        return self.x.gather(0, order.gather(0, at))


def systematic(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n indices with expectations n·w_i (weights that sum to 1), one uniform for all."""
    points = (torch.arange(n, dtype=torch.float64) + torch.rand(1, generator=generator, dtype=torch.float64)) / n
    return torch.searchsorted(weights.cumsum(0).clamp(max=1.0), points).clamp(max=len(weights) - 1)
