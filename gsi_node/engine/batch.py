"""Rows of several requests in one forward: G groups that share a prefix each, up to N rows a group.

    softmax([q·K_prefix, q·K_own]) · [V_prefix, V_own]

A group holds ONE copy of its prefix's keys and values; its rows hold the tokens fed since. Queries of a group meet the
prefix as one matrix, so the prefix is read once a group and not once a row. Prefixes start at token 0 and are masked
behind their end; own tokens stand in columns that all rows share (the next token of every row goes to column `end`),
masked before the group's first one. What is masked is zero, never stale: −inf + NaN would be NaN.

Shapes: Y layers, G groups, N rows a group (slots; unused ones are computed in attention only), B live rows, H key–value
heads, R query heads a key–value head, L tokens fed at once, T prefix tokens, C columns, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsi_node.engine.rows import KV, Layout

CHUNK = 64
"""Uniforms that a row draws at a time."""


@dataclass(slots=True, eq=False)
class Group:
    """Rows behind one prefix of `length` tokens. pad: the column of their first own token. live: rows, ascending."""

    length: int
    pad: int
    live: list[int]
    owner: Any = None


class Batch:
    """Groups, their keys and values. ids, values, draws: the sampler's notes by (group, row, column), kept in step."""

    def __init__(self, layout: Layout, context_length: int | None = None) -> None:
        self.layout = layout
        self.last_position = (context_length or 1 << 40) - 1
        self.groups: list[Group] = []
        self.end = self.start = self.ticks = 0  # ticks: columns filled since the batch was last empty
        self.dummy_mask = torch.zeros(
            1, 1, 1, 1, dtype=layout.dtype, device=layout.device
        )  # stops models making theirs
        self.release()

    def release(self) -> None:
        """Give the memory back; the batch must be empty."""
        empty = torch.empty(0, dtype=self.layout.dtype, device=self.layout.device)
        self._stores = [empty, empty]
        self._carve(0, 0, 0, 0)

    def join(self, contexts: Sequence[Sequence[KV]], sizes: Sequence[int], room: int) -> list[Group]:
        """New groups behind prefixes (segments one after another), of sizes[i] rows, with room for `room` columns."""
        lengths = [sum(part.shape[-2] for part in parts) for parts in contexts]
        if not self.groups:
            self.end = self.ticks = 0
        self._reserve(len(sizes), max(sizes), max(lengths), room)
        made = []
        for parts, size, length in zip(contexts, sizes, lengths, strict=True):
            g, at = len(self.groups), 0
            for part in parts:
                self.prefix[:, :, g, :, at : at + part.shape[-2]] = part
                at += part.shape[-2]
            self.prefix[:, :, g, :, length:] = 0
            self.suffix[:, :, g, :, :, : self.end] = 0
            made.append(Group(length, self.end, list(range(size))))
            self.groups.append(made[-1])
        self.changed()
        return made

    def leave(self, gone: Sequence[Group]) -> None:
        """Drop groups; the last ones take their places."""
        if len(gone) == len(self.groups):
            self.groups.clear()
            return
        for group in gone:
            g, last = self.groups.index(group), len(self.groups) - 1
            for array in (self.ids, self.values, self.draws):
                array[g] = array[last]
            if g != last:
                self.prefix[:, :, g] = self.prefix[:, :, last]
                self.suffix[:, :, g] = self.suffix[:, :, last]
            self.groups[g] = self.groups[last]
            self.groups.pop()
        self.changed()

    def changed(self) -> None:
        """Rebuild what depends on who is here. Call it after changing a group's `live`."""
        if not self.groups:
            return
        device, n = self.layout.device, self.ids.shape[1]
        self.slots = np.array([g * n + row for g, group in enumerate(self.groups) for row in group.live])
        self.full = len(self.slots) == len(self.groups) * n
        place = np.zeros(len(self.groups) * n, dtype=np.int64)
        place[self.slots] = np.arange(len(self.slots))
        lengths = np.array([group.length for group in self.groups])
        pads = np.array([group.pad for group in self.groups])
        rows = np.repeat(lengths - pads, [len(group.live) for group in self.groups])
        self._slots, self._place, self._offsets = (torch.from_numpy(a).to(device) for a in (self.slots, place, rows))
        self.tokens, self.start = int(lengths.max()), int(pads.min())
        hidden = np.concatenate(
            (
                np.arange(self.tokens) >= lengths[:, None],
                np.arange(self.start, self.suffix.shape[-2]) < pads[:, None],
            ),
            axis=1,
        )
        self._mask: Tensor | None = None
        if hidden.any():
            mask = np.where(hidden, -np.inf, 0.0)[:, None, None, None, None]
            self._mask = torch.from_numpy(mask).to(device, self._wide)
        seen = self.prefix[:, :, : len(self.groups), :, : self.tokens]
        self._seen = seen.flatten(0, 1).unbind(0)

    def open(self, length: int) -> Tensor:
        """Get ready to feed `length` tokens a row; their positions, shape (B, length)."""
        if self.end + length > self.suffix.shape[-2]:
            self._reserve(0, 0, 0, length)
            self.changed()
        stop, g = self.end + length, len(self.groups)
        own = self.suffix[:, :, :g, :, :, self.start : stop]
        new = self.suffix.flatten(2, 3)[:, :, : g * self.ids.shape[1], :, self.end : stop]
        self._own, self._new = own.flatten(0, 1).unbind(0), new.flatten(0, 1).unbind(0)
        total = self.tokens + stop - self.start
        self._bias = None if self._mask is None else self._mask[..., :total]
        if length == 1:
            return (self._offsets + self.end)[:, None]
        later = torch.full((length, length), -torch.inf, dtype=self._wide, device=self.layout.device).triu_(1)
        causal = torch.nn.functional.pad(later, (total - length, 0))
        self._bias = causal if self._bias is None else self._bias + causal
        span = torch.arange(self.end, stop, device=self.layout.device)
        return (self._offsets[:, None] + span).clamp_(max=self.last_position)  # padding may stand behind the context

    def commit(self, length: int) -> None:
        """What was fed since `open` is there."""
        self.end += length
        self.ticks += length

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """The new tokens' keys and values of one layer, shape (B, H, L, D) each."""
        for place, new in ((2 * layer, keys), (2 * layer + 1, values)):
            if self.full:
                self._new[place].copy_(new)
            else:
                self._new[place].index_copy_(0, self._slots, new)

    def attend(self, layer: int, query: Tensor, scale: float, softcap: float | None = None) -> Tensor:
        """softmax(scale · q·K + mask) · V for the new tokens; query (B, H·R, L, D), result (B, L, H·R, D)."""
        heads, length = query.shape[1], query.shape[2]
        g, n, h = len(self.groups), self.ids.shape[1], self.layout.heads
        r = heads // h
        q = (query if self.full else query.index_select(0, self._place)) * scale
        q = q.reshape(g, n, h, r * length, -1)
        shared = q.transpose(1, 2).reshape(g, h, n * r * length, -1)
        k_seen, v_seen = self._seen[2 * layer], self._seen[2 * layer + 1]
        k_own, v_own = self._own[2 * layer], self._own[2 * layer + 1]
        to_seen = torch.matmul(shared, k_seen.transpose(-1, -2)).view(g, h, n, r * length, self.tokens)
        to_own = torch.matmul(q, k_own.transpose(-1, -2)).transpose(1, 2)
        scores = torch.cat((to_seen, to_own), dim=-1).view(g, h, n, r, length, -1)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        if self._bias is not None:
            scores = scores.to(self._wide) + self._bias
        weights = torch.softmax(scores, dim=-1, dtype=self._wide).to(query.dtype)
        seen = weights[..., : self.tokens].reshape(g, h, n * r * length, self.tokens)
        own = weights[..., self.tokens :].reshape(g, h, n, r * length, -1).transpose(1, 2)
        result = torch.matmul(seen, v_seen).view(g, h, n, r, length, -1).permute(0, 2, 4, 1, 3, 5)
        result = result + torch.matmul(own, v_own).view(g, n, h, r, length, -1).permute(0, 1, 4, 2, 3, 5)
        result = result.reshape(g * n, length, heads, -1)
        return result if self.full else result.index_select(0, self._slots)

    def cut(self, group: Group, row: int, count: int) -> KV:
        """A copy of the first `count` own tokens of a row."""
        g = self.groups.index(group)
        return self.suffix[:, :, g, row, :, group.pad : group.pad + count].clone()

    @property
    def _wide(self) -> torch.dtype:
        """Softmax and masks: the model's type, but float32 for a half one."""
        return torch.float32 if self.layout.dtype.itemsize < 4 else self.layout.dtype

    def _reserve(self, groups: int, rows: int, tokens: int, columns: int) -> None:
        """Room for so many more groups (of `rows` rows, `tokens` of prefix) and `columns` from `end` on."""
        have = (self.prefix.shape[2], self.ids.shape[1], self.prefix.shape[4], self.suffix.shape[-2])
        if not self.groups:
            self._carve(groups, rows, tokens, columns)
            return
        first = min(group.pad for group in self.groups)
        need = (len(self.groups) + groups, rows, tokens, self.end - first + columns)
        if all(a >= b for a, b in zip(have[:3], need[:3], strict=True)) and self.end + columns <= have[3]:
            return
        grown = [a if a >= b else max(b, a + a // 2) for a, b in zip(have, need, strict=True)]
        old = (self.prefix, self.suffix, self.ids, self.values, self.draws)
        self._stores = [self._stores[0][:0], self._stores[1][:0]]
        self._carve(*grown)
        g, end = len(self.groups), self.end - first
        self.prefix.zero_()
        self.prefix[:, :, :g, :, : have[2]] = old[0][:, :, :g]
        self.suffix[:, :, :g, : have[1], :, :end] = old[1][:, :, :g, :, :, first : self.end]
        for array, before in ((self.ids, old[2]), (self.values, old[3])):
            array[:g, : have[1], :end] = before[:g, :, first : self.end]
        self.draws[:g, : have[1]] = old[4][:g]
        for group in self.groups:
            group.pad -= first
        self.end = end

    def _carve(self, groups: int, rows: int, tokens: int, columns: int) -> None:
        """Lay the tensors out in the memory at hand, or in new memory where that is too small."""
        y, h, d = self.layout.layers, self.layout.heads, self.layout.width
        shapes = ((y, 2, groups, h, tokens, d), (y, 2, groups, rows, h, columns, d))
        views = []
        for i, shape in enumerate(shapes):
            size = int(np.prod(shape))
            if self._stores[i].numel() < size:
                self._stores[i] = torch.empty(size, dtype=self.layout.dtype, device=self.layout.device)
            views.append(self._stores[i][:size].view(shape))
        self.prefix, self.suffix = views
        self.ids = np.zeros((groups, rows, columns), dtype=np.int64)
        self.values = np.zeros((groups, rows, columns))
        self.draws = np.zeros((groups, rows, CHUNK))
