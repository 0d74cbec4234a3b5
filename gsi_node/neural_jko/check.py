"""Evaluations of a target, counted and checked: a number that must not be used is an error that shows the point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gsi_node.cancel import check_cancelled
from gsi_node.errors import ConfigError, InvalidLogProb, NotNormalisable
from gsi_node.neural_jko.frame import AffineFrame
from gsi_node.neural_jko.targets import Target

RAYS, NEAR, FAR = 64, 1e2, 1e4
NEGLIGIBLE = 20.0  # nats: so far below what lies at r = 1, a ray may rise again on its way past a ridge


class CheckedTarget:
    """log g of a target at points (n, dim), in the points' dtype; `count` is the number of points evaluated so far."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.count = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Raises InvalidLogProb for NaN and +inf, ConfigError for a result of another shape,
        Cancelled where the graph that asked is gone."""
        check_cancelled()
        self.count += len(x)
        values = self.target.log_density(x)
        refuse_shape(self.target, x, values)
        bad = torch.isnan(values) | (values == math.inf)
        if bad.any():
            at = int(torch.nonzero(bad)[0])
            raise InvalidLogProb(
                f"target {self.target.name}: log-density {values[at].item()} at {x[at].tolist()} "
                f"({int(bad.sum())} of {len(x)} points); −inf is the value where there is no mass"
            )
        return values


def refuse_shape(target: Target, x: Tensor, values: Tensor) -> None:
    """Raise ConfigError where the log-densities of points (n, dim) are no tensor, or not of shape (n,)."""
    if not isinstance(values, Tensor):
        raise ConfigError(
            f"target {target.name}: log_density returns {type(values).__name__}; want a torch.Tensor made with torch's "
            "operations on its argument"
        )
    if values.shape != x.shape[:1]:
        raise ConfigError(
            f"target {target.name}: log_density of points {tuple(x.shape)} has shape {tuple(values.shape)}; "
            f"want ({len(x)},), one number a point"
        )


def refuse_device(device: str) -> None:
    """Raise ConfigError where torch cannot compute on a device of that name here."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        first = (str(error).splitlines() or ["unknown"])[0]
        raise ConfigError(f"device {device!r}: {first}; use cpu, or cuda where torch sees one") from error


def refuse_unnormalisable(target: Target, frame: AffineFrame, generator: torch.Generator) -> None:
    """Refuse a density whose mass does not fall between r = 10² and 10⁴, in the frame's coordinates.

    ∫ g = ∫∫ g(r u) r^dim d(log r) du: looked at on average over 64 random directions u; and g(r e) r on each
    half-axis e, for densities that are flat along one. Signs of trouble, no proof; NaN that far out (an overflow)
    counts as no mass.
    """
    axes = torch.eye(target.dim, dtype=torch.float64, device=generator.device)
    u = torch.randn((RAYS, target.dim), generator=generator, dtype=torch.float64, device=generator.device)
    rays = [(u / u.norm(dim=1, keepdim=True), target.dim, f"over {RAYS} directions u")]
    rays += [
        (sign * axes[i : i + 1], 1, f"along {'+' if sign > 0 else '−'}axis {i}")
        for i in range(target.dim)
        for sign in (1, -1)
    ]
    for directions, power, where in rays:
        logs = []
        for radius in (1.0, NEAR, FAR):
            values = target.log_density(frame.to_x(radius * directions)).double()
            values = torch.where(torch.isnan(values), -math.inf, values)
            logs.append(float(torch.logsumexp(values, 0)) + power * math.log(radius))
        if logs[2] >= logs[1] and logs[2] > logs[0] - NEGLIGIBLE:
            raise NotNormalisable(
                f"target {target.name}: g(r·u)·r^{power} {where} does not fall between r = {NEAR:g} and {FAR:g} (log: "
                f"{logs[1]:.4g} → {logs[2]:.4g}; r in units of its scale), so its integral is infinite; check the sign "
                "of log_density, and that it decays in every direction"
            )


def refuse_not_finite(values: Tensor, where: str) -> None:
    """Raise NotNormalisable where a solve or a loss has left the finite numbers."""
    if not bool(torch.isfinite(values).all()):
        raise NotNormalisable(
            f"{where}: not finite; the target may have no finite integral, or the step is too large: try a smaller "
            "tau, a smaller learning_rate or more ode_steps"
        )
