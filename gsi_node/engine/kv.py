"""Keys and values of one sequence, and rows of token ids.

Shapes: Y layers, H key–value heads, T tokens, D head width. The pair (keys, values) is dimension 1 of one tensor, so
that a prefix is written, moved or cut by one operation, whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from gsi_node.types import Ids

KV: TypeAlias = Tensor
"""Shape (Y, 2, H, T, D)."""


class KVShape(NamedTuple):
    """What the keys and values of a model look like."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def token_bytes(self) -> int:
        """Bytes that one token's keys and values take in all layers."""
        return 2 * self.layers * self.heads * self.width * self.dtype.itemsize

    @property
    def wide(self) -> torch.dtype:
        """Of softmax and masks: the model's type, but float32 for a half one."""
        return torch.float32 if self.dtype.itemsize < 4 else self.dtype


def kv_bytes(kv: KV) -> int:
    """Bytes held by `kv`."""
    return kv.numel() * kv.element_size()


def kv_head(kv: KV, length: int) -> KV:
    """The first `length` tokens, as a view."""
    return kv[..., :length, :]


def pad(rows: Sequence[Ids], device: torch.device) -> Tensor:
    """Token ids, shape (B, longest row), each row's last id repeated: under a causal mask, seen by no real position."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *(row[-1:] * (width - len(row)))] for row in rows], dtype=torch.long, device=device)
