"""A continuous normalizing flow: ż = v_θ(z, t) on [0, 1], with ℓ = ∫ div v dt and ω = ∫ ‖v‖² dt along the path.

Source: arXiv 2407.20444 §3. log p_1(z(1)) = log p_0(z(0)) − ℓ(1). Networks and points are float32, sums of ℓ float64.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gsi_node.cancel import check_cancelled
from gsi_node.errors import ConfigError, NotNormalisable
from gsi_node.needs import install_extra
from gsi_node.neural_jko.check import refuse_not_finite
from gsi_node.neural_jko.latent import Latent
from gsi_node.neural_jko.velocity import Slope, Velocity

OdeSolver = Literal["midpoint", "rk3", "rk4", "dopri5"]
CHUNK = 4096  # points a solve without gradients holds at once: a layer of them fits into the cache
TOLERANCE = 1e-5  # of dopri5
MOST_STEPS = 256  # a flow that needs more to settle is too wild to be a density


class Tableau(NamedTuple):
    """An explicit Runge–Kutta method: the weights of earlier slopes for each further stage, and those of the step."""

    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


TABLEAUS = {
    "midpoint": Tableau(((0.5,),), (0.0, 1.0)),
    "rk3": Tableau(((0.5,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6)),  # Kutta's method of third order
    "rk4": Tableau(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


class OdeSolution(NamedTuple):
    """End points (n, dim), ℓ (n,) in nats and ω (n,)."""

    x: Tensor
    log_det: Tensor
    energy: Tensor


def solve(
    velocity: Velocity,
    x: Tensor,
    *,
    steps: int,
    backward: bool = False,
    probes: Tensor | None = None,
    solver: OdeSolver = "rk4",
) -> OdeSolution:
    """(z, ℓ, ω) at t = 1 from z(0) = x; backward: at t = 0 from z(1) = x, with the same ℓ and ω over [0, 1].

    Differentiable in the parameters. `probes` (n, k, dim) stay the same over the whole solve, so that ℓ is a smooth
    function along the path. midpoint, rk3, rk4: `steps` equal steps; dopri5: adaptive, needs torchdiffeq. Raises
    Cancelled where the run that asked is gone.
    """
    start, end = (1.0, 0.0) if backward else (0.0, 1.0)
    slope = velocity.slope(probes)
    if solver == "dopri5":
        return _adaptive(slope, x, start, end)
    stages, weights = TABLEAUS[solver]
    h = (end - start) / steps
    z, log_det, energy = x, torch.zeros_like(x[:, 0], dtype=torch.float64), torch.zeros_like(x[:, 0])
    for i in range(steps):
        check_cancelled()
        t = start + i * h
        v, divergence = slope(z, t)
        slopes, divergences = [v], [divergence]
        for row in stages:
            inner = z + h * _combined(row, slopes)
            v, divergence = slope(inner, t + sum(row) * h)
            slopes.append(v)
            divergences.append(divergence)
        z = z + h * _combined(weights, slopes)
        log_det = log_det + abs(h) * _combined(weights, divergences).double()
        energy = energy + abs(h) * _combined(weights, [v.square().sum(1) for v in slopes])
    return OdeSolution(z, log_det, energy)


def _combined(weights: tuple[float, ...], values: list[Tensor]) -> Tensor:
    total = weights[-1] * values[-1]
    for weight, value in zip(weights[:-1], values[:-1], strict=True):
        total = torch.add(total, value, alpha=weight) if weight else total
    return total


def _adaptive(slope: Slope, x: Tensor, start: float, end: float) -> OdeSolution:
    try:
        from torchdiffeq import odeint
    except ModuleNotFoundError as error:
        raise ConfigError(f"solver dopri5 needs the package torchdiffeq: {install_extra('jko')}") from error

    def rates(t: Tensor, state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        check_cancelled()
        v, divergence = slope(state[0], float(t.detach()))
        return v, divergence, v.square().sum(1)

    zeros = torch.zeros_like(x[:, 0])
    times = torch.tensor([start, end], dtype=x.dtype, device=x.device)
    z, log_det, energy = odeint(rates, (x, zeros, zeros), times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5")
    sign = 1.0 if end > start else -1.0
    return OdeSolution(z[-1], sign * log_det[-1].double(), sign * energy[-1])


class Flow:
    """A trained flow as a layer: exact divergence, no gradients, in chunks, by rk4.

    ess: of its weights g / p as it was trained, the share of an effective sample; see `train.fit_flow`. gain: nats by
    which E log g / p is above that of the latent it starts from, by fresh draws of both; None: not compared.
    """

    def __init__(self, velocity: Velocity, steps: int, ess: float = 0.0, gain: float | None = None) -> None:
        self.velocity = velocity.eval().requires_grad_(False)
        self.steps = steps
        self.ess = ess
        self.gain = gain

    @torch.no_grad()
    def __call__(self, x: Tensor, backward: bool = False) -> tuple[Tensor, Tensor]:
        """(end points, ℓ): forward from t = 0, backward from t = 1; log p_1 = log p_0 − ℓ either way."""
        parts = [solve(self.velocity, chunk, steps=self.steps, backward=backward) for chunk in x.split(CHUNK)]
        ends, log_dets = torch.cat([p.x for p in parts]), torch.cat([p.log_det for p in parts])
        refuse_not_finite(ends, "the end points of a flow")
        return ends, log_dets


def settled(velocity: Velocity, x: Tensor, latent: Latent, *, steps: int, tolerance: float) -> Flow:
    """The flow with its steps doubled until log p moves by less than `tolerance` (nats) at the 99th percentile.

    Training may exploit the errors of its own few steps, so log p is compared at the same points z(1) between a path
    there and one back of twice the steps, over the latent in place of what lies below. x: draws of that, (n, dim).
    Raises NotNormalisable beyond MOST_STEPS.
    """
    moved = math.inf
    while steps <= MOST_STEPS:
        ends, log_det = Flow(velocity, steps)(x)
        start, finer = Flow(velocity, 2 * steps)(ends, backward=True)
        change = latent.log_prob(start) - latent.log_prob(x) + log_det - finer
        moved = float(change.abs().quantile(0.99))
        if moved < tolerance:
            return Flow(velocity, steps)
        steps *= 2
    raise NotNormalisable(
        f"a flow whose log-density still moves by {moved:.2g} nats with {steps} steps; try a smaller learning_rate, a "
        "smaller tau or a larger ode_tolerance"
    )
