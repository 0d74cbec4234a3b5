"""Rows of several requests in one forward: G groups that share a prefix each, up to N rows a group.

    softmax([q·K_prefix, q·K_own]) · [V_prefix, V_own]

A group holds ONE copy of its prefix's keys and values; its rows hold the tokens fed since. Queries of a group meet the
prefix as one matrix, so the prefix is read once a group and not once a row. Prefixes start at token 0 and are masked
behind their end; own tokens stand in columns that all rows share (the next token of every row goes to column `end`),
masked before the group's first one. What is masked is zero, never stale: −inf + NaN would be NaN.
In a layer with a sliding window w, the token at position q sees those at q − w + 1 … q. Positions are those in the
row's own sequence, not columns: groups whose prefixes differ in length are shifted against each other.

Shapes: Y layers, G groups, N rows a group (slots; unused ones are computed in attention only), B live rows, H key–value
heads, R query heads a key–value head, L tokens fed at once, T prefix tokens, C columns, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gsi_node.engine.kv import KV, KVShape
from gsi_node.engine.merging import Mask, attended, is_mergeable, merged
from gsi_node.engine.seats import Group, nobody, seated


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one forward. own: 2·Y tensors (G, N, H, C, D), those in use with the new ones. new: 2·Y tensors
    (G·N, H, L, D), the new ones alone. biases: by the window of a layer (None: no window), what is added to the scores;
    None for nothing. masks: the same for the prefixes and for the own tokens."""

    own: tuple[Tensor, ...] = ()
    new: tuple[Tensor, ...] = ()
    biases: dict[int | None, Tensor | None] = field(default_factory=dict)
    masks: dict[int | None, tuple[Mask | None, Mask | None]] = field(default_factory=dict)


BatchSizes: TypeAlias = tuple[int, int, int, int]
"""Groups, rows a group, tokens of a prefix, columns."""


class Batch:
    """Groups, and their keys and values. end: the next free column."""

    def __init__(self, shape: KVShape, context_length: int | None = None) -> None:
        self.shape = shape
        self.groups: list[Group] = []
        self.end = 0
        self.dummy_mask = torch.zeros(1, 1, 1, 1, dtype=shape.dtype, device=shape.device)  # stops models making theirs
        self._last_position = (context_length or 1 << 40) - 1
        empty = torch.empty(0, dtype=shape.dtype, device=shape.device)
        self._stores = [empty, empty]
        self._prefix, self._suffix = self._carved(0, 0, 0, 0)
        self._seats, self._columns = nobody(), Columns()

    def release(self) -> None:
        """Give the memory back; the batch must be empty."""
        self._stores = [store.new_empty(0) for store in self._stores]
        self._prefix, self._suffix = self._carved(0, 0, 0, 0)
        self._seats, self._columns = nobody(), Columns()

    def join(self, contexts: Sequence[Sequence[KV]], sizes: Sequence[int], room: int) -> list[Group]:
        """New groups behind prefixes (segments one after another), of sizes[i] rows, with room for `room` columns."""
        lengths = [sum(part.shape[-2] for part in parts) for parts in contexts]
        if not self.groups:
            self.end = 0
        self._reserve(len(sizes), max(sizes), max(lengths), room)
        made = []
        for parts, size, length in zip(contexts, sizes, lengths, strict=True):
            g, at = len(self.groups), 0
            for part in parts:
                self._prefix[:, :, g, :, at : at + part.shape[-2]] = part
                at += part.shape[-2]
            self._prefix[:, :, g, :, length:] = 0
            self._suffix[:, :, g, :, :, : self.end] = 0
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
            if g != last:
                self._prefix[:, :, g] = self._prefix[:, :, last]
                self._suffix[:, :, g] = self._suffix[:, :, last]
            self.groups[g] = self.groups[last]
            self.groups.pop()
        self.changed()

    def split(self, group: Group, row: int) -> int:
        """A new row of the group, fed what `row` has been, in the first slot that no row lives in. Call `changed` after
        the last."""
        new = next(slot for slot in range(len(group.live) + 1) if slot not in group.live)
        self._reserve(0, new + 1, 0, 0)
        own = self._suffix[:, :, self.groups.index(group)]
        own[:, :, new, :, : self.end] = own[:, :, row, :, : self.end]
        group.live = sorted((*group.live, new))
        return new

    @property
    def computed(self) -> int:
        """Groups that a forward computes."""
        return len(self.groups)

    def changed(self) -> None:
        """Rebuild what depends on who is here. Call it after changing a group's `live`."""
        if self.groups:
            self._seats = seated(self.groups, self.shape, self._prefix, self._suffix)

    @property
    def length(self) -> int:
        """Tokens that the next one may see: of the longest prefix, and of the columns in use."""
        return self._seats.tokens + self.end - self._seats.start

    def open(self, length: int) -> Tensor:
        """Get ready to feed `length` tokens a row; their positions, shape (B, length)."""
        if self.end + length > self._suffix.shape[-2]:
            self._reserve(0, 0, 0, length)
            self.changed()
        seats, stop, g = self._seats, self.end + length, len(self.groups)
        own = self._suffix[:, :, :g, :, :, seats.start : stop]
        new = self._suffix.flatten(2, 3)[:, :, : g * self._suffix.shape[3], :, self.end : stop]
        total = seats.tokens + stop - seats.start
        bias = None if seats.mask is None else seats.mask[..., :total]
        if length > 1:
            later = torch.full((length, length), -torch.inf, dtype=self.shape.wide, device=self.shape.device).triu_(1)
            causal = torch.nn.functional.pad(later, (total - length, 0))
            bias = causal if bias is None else bias + causal
        self._columns = Columns(own.flatten(0, 1).unbind(0), new.flatten(0, 1).unbind(0), {None: bias})
        if length == 1:
            return (seats.offsets + self.end)[:, None]
        span = torch.arange(self.end, stop, device=self.shape.device)
        return (seats.offsets[:, None] + span).clamp_(max=self._last_position)  # padding may stand behind the context

    def commit(self, length: int) -> None:
        """What was fed since `open` is there."""
        self.end += length

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """The new tokens' keys and values of one layer, shape (B, H, L, D) each."""
        for place, fresh in ((2 * layer, keys), (2 * layer + 1, values)):
            if self._seats.full:
                self._columns.new[place].copy_(fresh)
            else:
                self._columns.new[place].index_copy_(0, self._seats.slots, fresh)

    def attend(
        self, layer: int, query: Tensor, scale: float, softcap: float | None = None, window: int | None = None
    ) -> Tensor:
        """softmax(scale · q·K + mask) · V for the new tokens; query (B, H·R, L, D), result (B, L, H·R, D), contiguous.

        softcap: c·tanh(score / c) in place of a score. window: a token sees so many, itself included; None: all.
        """
        seats, heads, length = self._seats, query.shape[1], query.shape[2]
        g, n, h = self.computed, self._suffix.shape[3], self.shape.heads
        q = query if seats.full else query.index_select(0, seats.rows)
        q = q.reshape(g, n, h, heads // h * length, -1)
        if softcap is None and is_mergeable(query.dtype, query.device, query.shape[-1]):
            result = self._merged(layer, q, scale, length, window)
        else:
            result = self._whole(layer, q * scale, length, softcap, window)
        result = (
            result.view(g, n, h, heads // h, length, -1).permute(0, 1, 4, 2, 3, 5).reshape(g * n, length, heads, -1)
        )
        return result.contiguous() if seats.full else result.index_select(0, seats.slots)

    def _merged(self, layer: int, q: Tensor, scale: float, length: int, window: int | None) -> Tensor:
        """By merging.py; q and the result have shape (G, N, H, R·L, D)."""
        seats, columns = self._seats, self._columns
        g, n, h, rows, _ = q.shape
        seen_mask, own_mask = self._masks(window, length, rows // length)
        k_own, v_own = (part.flatten(0, 1) for part in columns.own[2 * layer : 2 * layer + 2])
        own, own_norm = attended(q.flatten(0, 1), k_own, v_own, scale, own_mask)
        own, own_norm = own.view(q.shape), own_norm.reshape(g, n, h, rows)
        if not seats.tokens:
            return own
        shared = q.transpose(1, 2).reshape(g, h, n * rows, -1)
        k_seen, v_seen = seats.prefixes[2 * layer : 2 * layer + 2]
        seen, seen_norm = attended(shared, k_seen, v_seen, scale, seen_mask)
        seen, seen_norm = seen.view(g, h, n, rows, -1).transpose(1, 2), seen_norm.reshape(g, h, n, rows).transpose(1, 2)
        return merged((seen, seen_norm), (own, own_norm))

    def _masks(self, window: int | None, length: int, r: int) -> tuple[Mask | None, Mask | None]:
        """`_bias` for queries to the prefixes, (n, r, L) to a group, and to the own tokens, (r, L) to a row."""
        masks, bias = self._columns.masks, self._bias(window, length)
        if bias is None:
            return None, None
        if window not in masks:
            g, n, tokens = len(self.groups), self._suffix.shape[3], self._seats.tokens
            bias = bias.reshape(-1, bias.shape[-2], bias.shape[-1])
            seen, own = bias[..., :tokens], bias[..., tokens:]
            seen = seen[:, :1] if torch.equal(seen, seen[:, :1].expand_as(seen)) else seen.repeat(1, n * r, 1)
            own = own.repeat(1, r if own.shape[1] > 1 else 1, 1)
            own = own.repeat_interleave(n, 0) if len(own) == g > 1 else own
            masks[window] = (Mask.of(seen) if tokens else None, Mask.of(own))
        return masks[window]

    def _whole(self, layer: int, q: Tensor, length: int, softcap: float | None, window: int | None) -> Tensor:
        """By one softmax; q, scaled, and the result have shape (G, N, H, R·L, D)."""
        seats, columns, wide = self._seats, self._columns, self.shape.wide
        g, n, h, rows, _ = q.shape
        r = rows // length
        shared = q.transpose(1, 2).reshape(g, h, n * rows, -1)
        k_seen, v_seen = seats.prefixes[2 * layer], seats.prefixes[2 * layer + 1]
        k_own, v_own = columns.own[2 * layer], columns.own[2 * layer + 1]
        to_seen = torch.matmul(shared, k_seen.transpose(-1, -2)).view(g, h, n, rows, seats.tokens)
        to_own = torch.matmul(q, k_own.transpose(-1, -2)).transpose(1, 2)
        scores = torch.cat((to_seen, to_own), dim=-1).view(g, h, n, r, length, -1)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        bias = self._bias(window, length)
        if bias is not None:
            scores = scores.add_(bias.to(scores.dtype))
        weights = torch.softmax(scores, dim=-1, dtype=wide).to(q.dtype)
        seen = weights.view(g, h, n * rows, -1)[..., : seats.tokens]
        own = weights[..., seats.tokens :].reshape(g, h, n, rows, -1).transpose(1, 2)
        return torch.matmul(seen, v_seen).view(g, h, n, rows, -1).transpose(1, 2) + torch.matmul(own, v_own)

    def _bias(self, window: int | None, length: int) -> Tensor | None:
        """What is added to the scores of `length` new tokens in a layer with such a window; made once a forward."""
        biases = self._columns.biases
        if window is not None and window not in biases:
            bias, total = biases[None], self._seats.tokens + self.end + length - self._seats.start
            if total > window:  # else no token is as far as that from another
                positions = self._seats.positions[:, :total]
                far = positions[:, total - length :, None] - positions[:, None] >= window
                slid = torch.zeros(far.shape, dtype=self.shape.wide, device=far.device).masked_fill_(far, -torch.inf)
                slid = slid[:, None, None, None]
                bias = slid if bias is None else bias + slid
            biases[window] = bias
        return biases[window]

    def cut(self, group: Group, row: int, count: int) -> KV:
        """A copy of the first `count` own tokens of a row."""
        g = self.groups.index(group)
        return self._suffix[:, :, g, row, :, group.pad : group.pad + count].clone()

    def _reserve(self, groups: int, rows: int, tokens: int, columns: int) -> None:
        """Room for so many more groups (of `rows` rows, `tokens` of prefix) and `columns` from `end` on."""
        prefix, suffix = self._prefix, self._suffix
        have = (prefix.shape[2], suffix.shape[3], prefix.shape[4], suffix.shape[-2])
        if not self.groups:
            self._prefix, self._suffix = self._carved(*self._sizes((0, 0, 0, 0), (groups, rows, tokens, columns)))
            return
        first = min(group.pad for group in self.groups)
        need = (len(self.groups) + groups, rows, tokens, self.end - first + columns)
        if all(a >= b for a, b in zip(have[:3], need[:3], strict=True)) and self.end + columns <= have[3]:
            return
        g, end = len(self.groups), self.end - first
        kept = prefix[:, :, :g].clone(), suffix[:, :, :g, :, :, first : self.end].clone()
        self._prefix, self._suffix = self._carved(*self._sizes(have, need))
        self._prefix.zero_()
        self._prefix[:, :, :g, :, : have[2]] = kept[0]
        self._suffix[:, :, :g, : have[1], :, :end] = kept[1]
        for group in self.groups:
            group.pad -= first
        self.end = end

    def _sizes(self, have: BatchSizes, need: BatchSizes) -> BatchSizes:
        """Groups, rows a group, tokens and columns to lay out memory for."""
        g, n, t, c = (a if a >= b else max(b, a + a // 2) for a, b in zip(have, need, strict=True))
        return g, n, t, c

    def _carved(self, groups: int, rows: int, tokens: int, columns: int) -> list[Tensor]:
        """Prefix and suffix laid out in the memory at hand, or in new memory where that is too small."""
        y, h, d = self.shape.layers, self.shape.heads, self.shape.width
        views = []
        for i, shape in enumerate(((y, 2, groups, h, tokens, d), (y, 2, groups, rows, h, columns, d))):
            size = int(np.prod(shape))
            if self._stores[i].numel() < size:
                self._stores[i] = self._stores[i].new_empty(size)
            views.append(self._stores[i][:size].view(shape))
        return views
