"""Key–value rows in preallocated buffers: a batch of sequences of equal length that grow in place.

Shapes: B rows, H key–value heads, T tokens, D head width. Transformers' own DynamicLayer concatenates, which copies
the whole cache for every token; here a token writes one column, and the prefix is copied once, by broadcasting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

KV: TypeAlias = tuple[tuple[Tensor, Tensor], ...]
"""One (keys, values) pair a layer, each of shape (B, H, T, D)."""


def kv_bytes(kv: KV) -> int:
    """Bytes held by the tensors of `kv`."""
    return sum(tensor.numel() * tensor.element_size() for pair in kv for tensor in pair)


def kv_head(kv: KV, length: int) -> KV:
    """The first `length` tokens of every row, as views."""
    return tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in kv)


class BufferLayer(DynamicLayer):
    """One attention layer's keys and values in buffers with room to grow; never shrinks, doubles when full."""

    keys: Tensor
    values: Tensor

    def __init__(self, segments: Sequence[tuple[Tensor, Tensor]] = (), rows: int = 1, room: int = 64) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._length = 0
        self._room = room
        if segments:
            total = sum(keys.shape[2] for keys, _ in segments)
            self._allocate(segments[0][0], segments[0][1], rows, total + room)
            for keys, values in segments:  # one row broadcasts over all
                self._write(keys, values)

    def _allocate(self, keys: Tensor, values: Tensor, rows: int, capacity: int) -> None:
        self._keys = keys.new_empty(rows, keys.shape[1], capacity, keys.shape[3])
        self._values = values.new_empty(rows, values.shape[1], capacity, values.shape[3])
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def _write(self, keys: Tensor, values: Tensor) -> None:
        end = self._length + keys.shape[2]
        self._keys[:, :, self._length : end] = keys
        self._values[:, :, self._length : end] = values
        self._length = end
        self._publish()

    def _publish(self) -> None:
        self.keys, self.values = self._keys[:, :, : self._length], self._values[:, :, : self._length]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new tokens' keys and values, shape (B, H, new tokens, D); return all of them."""
        added = key_states.shape[2]
        if not self.is_initialized:
            self._allocate(key_states, value_states, key_states.shape[0], added + self._room)
        elif self._length + added > self._keys.shape[2]:
            keys, values = self.keys, self.values
            self._allocate(keys, values, keys.shape[0], 2 * self._length + added)
            self._length = 0
            self._write(keys, values)
        self._write(key_states, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self._length

    def select(self, indices: Tensor) -> None:
        """Keep only these rows."""
        capacity = self._keys.shape[2]
        keys, values = self.keys.index_select(0, indices), self.values.index_select(0, indices)
        self._allocate(keys, values, keys.shape[0], capacity)
        self._length = 0
        self._write(keys, values)


class Rows:
    """A batch of B sequences of equal length: the prefix, broadcast, and what has been fed since."""

    def __init__(self, layers: int, segments: Sequence[KV], rows: int, room: int) -> None:
        self.layers = [BufferLayer([segment[i] for segment in segments], rows, room) for i in range(layers)]
        self.cache = Cache(layers=list(self.layers))

    @property
    def length(self) -> int:
        """Tokens held by every row."""
        return self.layers[0].get_seq_length()

    def select(self, indices: Tensor) -> None:
        """Keep only these rows."""
        for layer in self.layers:
            layer.select(indices)

    def cut(self, row: int, start: int, stop: int) -> KV:
        """A copy of tokens start..stop of one row, shape (1, H, stop − start, D) a tensor."""
        part = (slice(row, row + 1), slice(None), slice(start, stop))
        return tuple((layer.keys[part].clone(), layer.values[part].clone()) for layer in self.layers)


def pad(rows: Sequence[tuple[int, ...]], device: torch.device) -> Tensor:
    """Token ids, shape (B, longest row), each row's last id repeated: under a causal mask, seen by no real position."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *(row[-1:] * (width - len(row)))] for row in rows], dtype=torch.long, device=device)
