"""The coordinates that flows work in: x = centre + A z, with N(0, I) as the latent in z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gsi_node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AffineFrame:
    """centre (dim,) and an invertible matrix A (dim, dim), both float64. Points x are float64."""

    centre: Tensor
    matrix: Tensor

    def to_x(self, z: Tensor) -> Tensor:
        return self.centre + z.double() @ self.matrix.t()

    def to_z(self, x: Tensor) -> Tensor:
        away = x.to(self.centre.device).double() - self.centre
        return torch.as_tensor(torch.linalg.solve(self.matrix, away.t()).t())

    @property
    def log_volume(self) -> float:
        """log |det A|: a log-density in z is the one in x plus this."""
        return float(torch.linalg.slogdet(self.matrix)[1])

    def on(self, device: str | torch.device) -> AffineFrame:
        return AffineFrame(self.centre.to(device), self.matrix.to(device))


def round_frame(dim: int, mean: float | Sequence[float] = 0.0, scale: float = 1.0) -> AffineFrame:
    """The frame in which N(0, I) is N(mean, scale² I). Raises ConfigError: a mean of another length."""
    centre = torch.as_tensor(mean, dtype=torch.float64)
    if centre.numel() not in (1, dim):
        raise ConfigError(f"latent_mean: want one number or {dim}, got {centre.numel()}")
    return AffineFrame(centre.expand(dim).contiguous(), scale * torch.eye(dim, dtype=torch.float64))
