"""A batch whose forwards of one token have few shapes, each of which can be recorded and replayed (graphs.py).

    B rows of ROWS,   G groups of 1, 2, 4, …,   N rows a group of ROWS,   T and C tokens of 64, 96, 128, 192, …

Nothing of a forward is a number that Python knows. Ids stand in a tensor that stays; so do, one after another,

    [end | lengths (G) | pads (G) | slots (B) | offsets (B) | rows (G·N)],

from which the forward itself computes positions and masks. All that is laid out is computed: groups, rows and columns
that nobody has get some finite value, which is never read. What is masked is zero, as in batch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsi_node.engine.batch import Batch, BatchSizes, Columns
from gsi_node.engine.graphs import Recorder, Recordings
from gsi_node.engine.kv import KVShape
from gsi_node.engine.merging import Mask
from gsi_node.engine.seats import Seats, placed

ROWS = (1, 2, 4, 8, 16, 32, 64, 96, 128)
LEAST = 64
"""Tokens of the shortest prefix and of the fewest columns."""


def rows_laid(rows: int) -> int:
    """The next of ROWS; beyond them, of the multiples of the last."""
    return next((size for size in ROWS if size >= rows), -(-rows // ROWS[-1]) * ROWS[-1])


def tokens_laid(tokens: int) -> int:
    """The next of LEAST · (1, 1.5, 2, 3, 4, 6, …)."""
    return next(size for k in count() for size in (LEAST << k, 3 * LEAST // 2 << k) if size >= tokens)


def laid(need: BatchSizes) -> BatchSizes:
    """What is laid out where so much is needed."""
    groups, rows, tokens, columns = need
    return 1 << (groups - 1).bit_length(), rows_laid(rows), tokens_laid(tokens), tokens_laid(columns)


class FixedBatch(Batch):
    """Fed one token a row at a time, by `step`."""

    _seats: Seats
    _columns: Columns

    def __init__(self, shape: KVShape, context_length: int | None, recorder: Recorder) -> None:
        self.recordings = Recordings(recorder)
        super().__init__(shape, context_length)
        none = torch.empty(0, dtype=torch.long, device=shape.device)
        self._ids, self._numbers = none, none
        self._end, self._lengths, self._pads = none, none, none

    @property
    def computed(self) -> int:
        return len(self._lengths)

    @property
    def length(self) -> int:
        """Nothing that a forward computes depends on it."""
        return self._seats.tokens + self._suffix.shape[-2] - 1

    def release(self) -> None:
        super().release()
        self.recordings.forget()

    def changed(self) -> None:
        if not self.groups:
            return
        n = self._suffix.shape[3]
        at = placed(self.groups, n)
        b = rows_laid(len(at.slots))
        g, _, tokens, _ = laid((len(self.groups), n, int(at.lengths.max()), 1))
        spare = g - len(self.groups)
        parts = (
            np.array([self.end]),
            np.pad(at.lengths, (0, spare)),
            np.pad(at.pads, (0, spare)),
            _filled(at.slots, b),
            _filled(at.offsets, b),
            np.pad(at.rows, (0, spare * n)),
        )
        told = torch.from_numpy(np.concatenate(parts))
        self._numbers = self._standing(self._numbers, len(told))
        self._numbers[: len(told)].copy_(told)
        views = self._numbers[: len(told)].split([len(part) for part in parts])
        self._end, self._lengths, self._pads, slots, offsets, rows = views
        self._seats = Seats(
            slots,
            rows,
            offsets,
            full=False,
            tokens=tokens,
            start=0,
            mask=None,
            positions=self._end,
            prefixes=self._prefix[:, :, :g, :, :tokens].flatten(0, 1).unbind(0),
        )

    def step(self, ids: Tensor, forward: Callable[[Batch, Tensor], Tensor]) -> Tensor:
        """What `forward` makes of this batch and the next token of each row, (B, 1): logits (B, 1, labels), overwritten
        by the next step."""
        if self.end + 1 > self._suffix.shape[-2]:
            self._reserve(0, 0, 0, 1)
            self.changed()
        b, columns = len(self._seats.slots), tokens_laid(self.end + 1)
        self._ids = self._standing(self._ids, b)
        self._ids[: len(ids)].copy_(ids[:, 0])
        self._end.fill_(self.end)
        own = self._suffix[:, :, : self.computed, :, :, :columns].flatten(0, 1).unbind(0)
        self._columns = Columns(own)
        shape = (b, self.computed, self._seats.tokens, columns, self._prefix.shape, self._suffix.shape)
        return self.recordings.run(shape, partial(forward, self, self._ids[:b, None]))[: len(ids)]

    def open(self, length: int) -> Tensor:
        """A forward of `step` begins: the positions, shape (B, 1)."""
        self._columns = Columns(self._columns.own)
        return (self._seats.offsets + self._end)[:, None]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        for place, fresh in ((2 * layer, keys), (2 * layer + 1, values)):
            everywhere = fresh.index_select(0, self._seats.rows)
            self._columns.own[place].flatten(0, 1).index_copy_(2, self._end, everywhere)

    def _masks(self, window: int | None, length: int, r: int) -> tuple[Mask | None, Mask | None]:
        masks = self._columns.masks
        if window not in masks:
            n = self._suffix.shape[3]
            seen, own = self._hidden(window)
            masks[window] = (self._mask(seen), self._mask(own.repeat_interleave(n, 0)))
        return masks[window]

    def _mask(self, hidden: Tensor) -> Mask:
        values = torch.zeros(hidden.shape, dtype=self.shape.dtype, device=hidden.device)
        return Mask(values.masked_fill_(hidden, -torch.inf)[:, None, None], hidden.all(-1)[:, None, None])

    def _bias(self, window: int | None, length: int) -> Tensor | None:
        biases = self._columns.biases
        if window not in biases:
            hidden = torch.cat(self._hidden(window), dim=-1)
            bias = torch.zeros(hidden.shape, dtype=self.shape.wide, device=hidden.device)
            biases[window] = bias.masked_fill_(hidden, -torch.inf)[:, None, None, None, None]
        return biases[window]

    def _hidden(self, window: int | None) -> tuple[Tensor, Tensor]:
        """What the next token of a group's rows does not see of the prefixes, (G, T), and of the columns, (G, C)."""
        device, lengths, pads = self.shape.device, self._lengths[:, None], self._pads[:, None]
        seen = torch.arange(self._seats.tokens, device=device)
        own = torch.arange(self._columns.own[0].shape[-2], device=device)
        here = lengths - pads + self._end
        hidden, ahead = seen >= lengths, (own < pads) | (own > self._end)
        if window is None:
            return hidden, ahead
        return hidden | (here - seen >= window), ahead | (self._end - own >= window)

    def _sizes(self, have: BatchSizes, need: BatchSizes) -> BatchSizes:
        g, n, t, c = (max(a, b) for a, b in zip(have, laid(need), strict=True))
        return g, n, t, c

    def _carved(self, groups: int, rows: int, tokens: int, columns: int) -> list[Tensor]:
        before = list(self._stores)
        views = super()._carved(groups, rows, tokens, columns)
        if any(old is not new for old, new in zip(before, self._stores, strict=True)):
            self.recordings.forget()
        for view in views:
            view.zero_()
        return views

    def _standing(self, memory: Tensor, size: int) -> Tensor:
        """`memory`, or more of it where it is too small."""
        if len(memory) >= size:
            return memory
        self.recordings.forget()
        return memory.new_zeros(2 * size)


def _filled(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """So many, the first one repeated."""
    return np.concatenate((values, np.repeat(values[:1], size - len(values))))
