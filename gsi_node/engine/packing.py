"""Linear layers of a model on the CPU, their weights laid out once in the blocks that oneDNN's products read.

torch.nn.functional.linear lays them out anew at every call (bfloat16), or takes MKL's products (float32), which need
twice the time for a few rows. Layers of one input become one product: q, k, v of an attention, gate and up of an MLP.
Weights are moved, not changed; a row's results differ by rounding from those of the layers as they were.

The two operators are torch's own but private (its compiler uses them): each layer is compared with what it was and
stays it where they are missing, refuse or differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from gsi_node.text.reading import first_line

LEAST = 1 << 18
"""Weights of a layer that is packed: a call takes 12 µs more than one of MKL, and smaller ones stay in the cache."""
KINDS = (torch.float32, torch.bfloat16, torch.float16)
JOINED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


class PackedLinear(nn.Module):
    """x·Wᵀ + b, W in oneDNN's blocks. RuntimeError (or AttributeError) where this torch or CPU does not pack W."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (…, in); the result: (…, out)."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return result


class _Joint(nn.Module):
    """Layers over one input as one product: the first one that is asked computes all, the others find theirs.

    They are told by the very tensor that they are asked with; with another one (of another thread, say) each is
    computed anew.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.product: nn.Module = _stacked(layers)
        self.sizes = [layer.out_features for layer in layers]
        self._held: tuple[Tensor, tuple[Tensor, ...]] | None = None

    def forward(self, x: Tensor, index: int) -> Tensor:
        """What layer `index` makes of x."""
        held = self._held
        if held is None or held[0] is not x:
            held = (x, self.product(x).split(self.sizes, dim=-1))
        self._held = held if index < len(self.sizes) - 1 else None
        return held[1][index]


class _Part(nn.Module):
    """One layer of a joint, where the model has it."""

    def __init__(self, joint: _Joint, index: int) -> None:
        super().__init__()
        self.joint, self.index = joint, index

    def forward(self, x: Tensor) -> Tensor:
        """x: (…, in); the result: (…, out), a view."""
        part: Tensor = self.joint(x, self.index)
        return part


@torch.no_grad()
def pack(model: nn.Module) -> tuple[str, ...]:
    """Pack the linear layers of a model that is this program's own, in place; what its user should know of it.

    The layers' weights are freed one after another; a head that shares its weights with the embeddings is packed
    beside them. float64, quantized layers and other devices than the CPU are left as they are.
    """
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    remarks: list[str] = []
    for part in list(model.modules()):
        for names in JOINED:
            layers: list[Any] = [getattr(part, name, None) for name in names]
            if _one_input(layers):
                joint = _Joint(layers)
                for index, name in enumerate(names):
                    setattr(part, name, _Part(joint, index))
                del layers
                _settle(joint, tables, remarks)
        _settle(part, tables, remarks)
    return tuple(dict.fromkeys(remarks))


def _settle(part: nn.Module, tables: set[int], remarks: list[str]) -> None:
    """Pack the layers that `part` has itself. tables: the embeddings' weights."""
    for name, layer in list(part.named_children()):
        if not _plain(layer) or layer.weight.numel() < LEAST:
            continue
        packed = _packed(layer)
        if isinstance(packed, str):
            remarks.append(f"weights are not packed: {packed}")
            continue
        setattr(part, name, packed)
        if id(layer.weight) in tables:
            size = layer.weight.numel() * layer.weight.element_size() / 1e6
            remarks.append(f"its head, packed beside the embeddings, takes {size:.0f} MB more: pack=false saves them")


def is_packed(model: nn.Module) -> bool:
    """Whether `pack` was here: weights that it moved cannot be read, those that it joined have other names."""
    return any(isinstance(part, PackedLinear | _Joint) for part in model.modules())


def _plain(layer: object) -> TypeGuard[nn.Linear]:
    """Whether it is a linear layer as torch has it, of a kind that is packed, on the CPU."""
    return type(layer) is nn.Linear and layer.weight.dtype in KINDS and layer.weight.device.type == "cpu"


def _one_input(layers: Sequence[Any]) -> bool:
    """Whether these layers can be one product, if they are given one input."""
    return all(map(_plain, layers)) and len({(x.in_features, x.weight.dtype, x.bias is None) for x in layers}) == 1


def _stacked(layers: Sequence[nn.Linear]) -> nn.Linear:
    """Layers over one input as one."""
    first, outs = layers[0], sum(layer.out_features for layer in layers)
    stacked = nn.Linear(first.in_features, outs, bias=first.bias is not None, device="meta")
    stacked.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    if first.bias is not None:
        stacked.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), requires_grad=False)
    return stacked


def _packed(layer: nn.Linear) -> PackedLinear | str:
    """The layer packed, or why it cannot be: they are compared on some random rows."""
    try:
        packed = PackedLinear(layer)
        rows = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(0)).to(layer.weight.dtype)
        wanted, found = layer(rows), packed(rows)
    except (RuntimeError, AttributeError) as error:  # no such operator, or none for this CPU
        return first_line(error)
    return packed if _agrees(found, wanted) else "they would give other results"


def _agrees(found: Tensor, wanted: Tensor) -> bool:
    allowed = max(1e-4, 2 * torch.finfo(wanted.dtype).eps) * float(wanted.abs().max())
    return torch.allclose(found, wanted, rtol=0.0, atol=allowed)
