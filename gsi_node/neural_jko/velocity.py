"""The network of a flow: v(x, t) with an exact divergence."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

Activation = Literal["tanh", "silu", "mixed"]
Slope = Callable[[Tensor, float], tuple[Tensor, Tensor]]  # (x, t) -> v (n, dim) and div v (n,)
OWN_BOUNDS = {"slope": 1.0, "offset": 0.5, "drift": 0.5, "height": 0.0}  # of their uniform starts


class VelocityShape(NamedTuple):
    """The sizes of a Velocity. gate: hidden units of its gate; own: of each coordinate's own gate; 0: none.

    gain: of the first layer's initial weights (with "mixed": of its tanh half); above 1 the features turn within a
    fraction of the latent's width.
    """

    dim: int
    width: int
    depth: int
    activation: Activation = "tanh"
    gate: int = 0
    gain: float = 1.0
    own: int = 0


class Velocity(nn.Module):
    """v(x, t) = W_L s(… s(W_1 [x, t] + b_1) …) + b_L + (a(x, t) + o(x, t)) ∘ x; W_L, b_L, a and o start at zero.

    s = tanh or SiLU; "mixed": tanh in the first half of a layer's units, SiLU in the rest. The gate a has a tanh layer.
    o_i(x, t) = Σ_k c_ik tanh(α_ik x_i + β_ik + γ_ik t) reads its own coordinate alone: the curve that makes it skewed.
    """

    def __init__(self, network: VelocityShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.network, dim = network, network.dim
        self.layers = _linears([dim + 1, *[network.width] * network.depth, dim])
        self.gate = _linears([dim + 1, network.gate, dim] if network.gate else [])
        for layer in (*self.linears, *self.gate_linears):
            bound = layer.in_features**-0.5
            for tensor in (layer.weight, layer.bias):
                nn.init.uniform_(tensor, -bound, bound, generator=generator)
        for last in (self.linears[-1], *self.gate_linears[-1:]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        with torch.no_grad():
            for tensor in (self.linears[0].weight, self.linears[0].bias):
                tensor[: self._tanh_units] *= network.gain
        self.own = nn.ParameterDict()
        if network.own:
            for name, most in OWN_BOUNDS.items():
                start = torch.empty(dim * network.own).uniform_(-most, most, generator=generator)
                self.own[name] = nn.Parameter(start)

    @property
    def linears(self) -> list[nn.Linear]:
        return cast("list[nn.Linear]", list(self.layers))

    @property
    def gate_linears(self) -> list[nn.Linear]:
        return cast("list[nn.Linear]", list(self.gate))

    @property
    def _tanh_units(self) -> int:
        width = self.network.width
        return {"tanh": width, "silu": 0, "mixed": width // 2}[self.network.activation]

    def _active(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """s and s' at (n, width)."""
        k = self._tanh_units
        bent = torch.tanh(values[:, :k])
        if k == values.shape[1]:
            return bent, 1.0 - bent.square()
        rest = values[:, k:]
        sigmoid = torch.sigmoid(rest)
        ramp = rest * sigmoid
        return torch.cat([bent, ramp], 1), torch.cat([1.0 - bent.square(), sigmoid + ramp * (1.0 - sigmoid)], 1)

    def forward(self, x: Tensor, t: float) -> Tensor:
        return self.slope()(x, t)[0]

    def with_divergence(self, x: Tensor, t: float, probes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """v and div v = tr ∂v/∂x at one time; see `slope`."""
        return self.slope(probes)(x, t)

    def slope(self, probes: Tensor | None = None) -> Slope:
        """v and div v as one function of (x, t); what does not depend on them is computed once, here.

        With probes e (n, k, dim): mean_k eᵀ (∂v/∂x) e in place of the trace; the gate's part is exact anyway. Two
        hidden layers: tr(W_3 D_2 W_2 D_1 W_1) = s_2'ᵀ (W_2 ∘ (W_1 W_3)ᵀ) s_1', one matrix product more than v itself
        in any dimension. Otherwise tangents are pushed through the layers, `dim` of them for the exact trace.
        """
        dim = self.network.dim
        first, *middle, last = self.linears
        w_first = first.weight[:, :dim]
        trace = None
        if probes is None and len(middle) == 1:
            trace = (middle[0].weight * (w_first @ last.weight).t()).t()
        gate, own = self._gated(), self._owned()

        def at(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            state, rise = self._active(torch.addmm(first.bias + t * first.weight[:, dim], x, w_first.t()))
            rises = [rise]
            for layer in middle:
                state, rise = self._active(layer(state))
                rises.append(rise)
            v = last(state)
            if trace is not None:
                divergence = ((rises[0] @ trace) * rises[1]).sum(1)
            else:
                divergence = self._by_tangents(x, rises, probes)
            return own(x, t, *gate(x, t, v, divergence))

        return at

    def _by_tangents(self, x: Tensor, rises: list[Tensor], probes: Tensor | None) -> Tensor:
        dim = self.network.dim
        e = torch.eye(dim, dtype=x.dtype, device=x.device)[None] if probes is None else probes
        first, *middle, last = (layer.weight for layer in self.linears)
        tangent = (e @ first[:, :dim].t()) * rises[0][:, None]
        for weight, rise in zip(middle, rises[1:], strict=True):
            tangent = (tangent @ weight.t()) * rise[:, None]
        traces = ((tangent @ last.t()) * e).sum(-1)
        return traces.sum(1) if probes is None else traces.mean(1)

    def _gated(self) -> Callable[[Tensor, float, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Adds a(x, t) ∘ x to v, and its divergence Σ_i a_i + x_i ∂_i a_i."""
        if not self.network.gate:
            return lambda x, t, v, divergence: (v, divergence)
        dim = self.network.dim
        first, last = self.gate_linears
        inner = first.weight[:, :dim]
        diagonal = inner * last.weight.t()

        def add(x: Tensor, t: float, v: Tensor, divergence: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(torch.addmm(first.bias + t * first.weight[:, dim], x, inner.t()))
            a = last(state)
            own = a.sum(1) + (x * ((1.0 - state.square()) @ diagonal)).sum(1)
            return v + a * x, divergence + own

        return add

    def _owned(self) -> Callable[[Tensor, float, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Adds o(x, t) ∘ x to v, and its divergence Σ_i o_i + x_i ∂_i o_i."""
        if not self.network.own:
            return lambda x, t, v, divergence: (v, divergence)
        size = (self.network.own, self.network.dim)
        slope, offset, drift, height = (self.own[name].reshape(size) for name in OWN_BOUNDS)
        steep = slope * height

        def add(x: Tensor, t: float, v: Tensor, divergence: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(torch.addcmul(offset + t * drift, x[:, None], slope))
            o, rise = (height * state).sum(1), steep.sum(0) - (steep * state.square()).sum(1)
            return v + o * x, divergence + (o + x * rise).sum(1)

        return add


def _linears(sizes: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
