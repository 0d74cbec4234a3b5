"""A continuous normalizing flow: ż = v_θ(z, t) on [0, 1], with ℓ = ∫ div v dt and ω = ∫ ‖v‖² dt along the path.

Source: arXiv 2407.20444 §3. log p_1(z(1)) = log p_0(z(0)) − ℓ(1). Networks and points are float32, sums of ℓ float64.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.check import refuse_not_finite

OdeSolver = Literal["rk4", "dopri5"]
CHUNK = 4096  # points a solve without gradients holds at once: a layer of them fits into the cache
TOLERANCE = 1e-5  # of dopri5


class OdeSolution(NamedTuple):
    """End points (n, dim), ℓ (n,) in nats and ω (n,)."""

    x: Tensor
    log_det: Tensor
    energy: Tensor


class Velocity(nn.Module):
    """v(x, t) = W_L s(… s(W_1 [x, t] + b_1) …) + b_L with s = tanh; W_L and b_L start at zero, hence the identity.

    gain: of the first layer's initial weights; above 1 the features turn within a fraction of the latent's width.
    """

    def __init__(
        self, dim: int, width: int, depth: int, *, gain: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        sizes = [dim + 1, *[width] * depth, dim]
        self.dim = dim
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for i, layer in enumerate(self.linears):
            bound = layer.in_features**-0.5 * (gain if i == 0 else 1.0)
            for tensor in (layer.weight, layer.bias):
                nn.init.uniform_(tensor, -bound, bound, generator=generator)
        nn.init.zeros_(self.linears[-1].weight)
        nn.init.zeros_(self.linears[-1].bias)

    @property
    def linears(self) -> list[nn.Linear]:
        return cast("list[nn.Linear]", list(self.layers))

    def hidden(self, x: Tensor, t: float) -> list[Tensor]:
        """s of every hidden layer, each (n, width)."""
        first, *middle, _ = self.linears
        shift = first.bias + t * first.weight[:, self.dim]
        states = [torch.tanh(torch.addmm(shift, x, first.weight[:, : self.dim].t()))]
        for layer in middle:
            states.append(torch.tanh(layer(states[-1])))
        return states

    def forward(self, x: Tensor, t: float) -> Tensor:
        return torch.as_tensor(self.linears[-1](self.hidden(x, t)[-1]))

    def with_divergence(self, x: Tensor, t: float, probes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """v and div v = tr ∂v/∂x, shapes (n, dim) and (n,); with probes e (n, k, dim): mean_k eᵀ (∂v/∂x) e instead.

        Two hidden layers: tr(W_3 D_2 W_2 D_1 W_1) = s_2'ᵀ (W_2 ∘ (W_1 W_3)ᵀ) s_1', one matrix product more than v
        itself in any dimension. Otherwise tangents are pushed through the layers, `dim` of them for the exact trace.
        """
        states = self.hidden(x, t)
        slopes = [1.0 - s.square() for s in states]
        first, *middle, last = [layer.weight for layer in self.linears]
        first = first[:, : self.dim]
        v = torch.as_tensor(self.linears[-1](states[-1]))
        if probes is None and len(states) == 2:
            return v, ((slopes[0] @ (middle[0] * (first @ last).t()).t()) * slopes[1]).sum(1)
        e = torch.eye(self.dim, dtype=x.dtype, device=x.device)[None] if probes is None else probes
        tangent = (e @ first.t()) * slopes[0][:, None]
        for weight, slope in zip(middle, slopes[1:], strict=True):
            tangent = (tangent @ weight.t()) * slope[:, None]
        traces = ((tangent @ last.t()) * e).sum(-1)
        return v, traces.sum(1) if probes is None else traces.mean(1)


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
    function along the path. rk4: the classical method with `steps` equal steps; dopri5: adaptive, needs torchdiffeq.
    """
    start, end = (1.0, 0.0) if backward else (0.0, 1.0)

    def slope(t: float, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, divergence = velocity.with_divergence(z, t, probes)
        return v, divergence, v.square().sum(1)

    if solver == "dopri5":
        return _adaptive(slope, x, start, end)
    h = (end - start) / steps
    z, log_det, energy = x, torch.zeros_like(x[:, 0], dtype=torch.float64), torch.zeros_like(x[:, 0])
    for i in range(steps):
        t = start + i * h
        k1, l1, w1 = slope(t, z)
        k2, l2, w2 = slope(t + 0.5 * h, z + 0.5 * h * k1)
        k3, l3, w3 = slope(t + 0.5 * h, z + 0.5 * h * k2)
        k4, l4, w4 = slope(t + h, z + h * k3)
        z = z + (h / 6) * (k1 + 2 * (k2 + k3) + k4)
        log_det = log_det + (abs(h) / 6) * (l1 + 2 * (l2 + l3) + l4).double()
        energy = energy + (abs(h) / 6) * (w1 + 2 * (w2 + w3) + w4)
    return OdeSolution(z, log_det, energy)


def _adaptive(slope: Any, x: Tensor, start: float, end: float) -> OdeSolution:
    try:
        from torchdiffeq import odeint
    except ModuleNotFoundError as error:
        raise ConfigError("solver dopri5 needs the package torchdiffeq: pip install 'gsi-node[jko]'") from error
    zeros = torch.zeros_like(x[:, 0])
    times = torch.tensor([start, end], dtype=x.dtype, device=x.device)
    state = (x, zeros, zeros)
    z, log_det, energy = odeint(
        lambda t, y: slope(float(t), y[0]), state, times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"
    )
    sign = 1.0 if end > start else -1.0
    return OdeSolution(z[-1], sign * log_det[-1].double(), sign * energy[-1])


class Flow:
    """A trained flow as a layer: exact divergence, no gradients, in chunks."""

    def __init__(self, velocity: Velocity, steps: int, solver: OdeSolver = "rk4") -> None:
        self.velocity = velocity.eval().requires_grad_(False)
        self.steps = steps
        self.solver: OdeSolver = solver

    @torch.no_grad()
    def __call__(self, x: Tensor, backward: bool = False) -> tuple[Tensor, Tensor]:
        """(end points, ℓ): forward from t = 0, backward from t = 1; log p_1 = log p_0 − ℓ either way."""
        parts = [
            solve(self.velocity, chunk, steps=self.steps, solver=self.solver, backward=backward)
            for chunk in x.split(CHUNK)
        ]
        ends, log_dets = torch.cat([p.x for p in parts]), torch.cat([p.log_det for p in parts])
        refuse_not_finite(ends, "the end points of a flow")
        return ends, log_dets
