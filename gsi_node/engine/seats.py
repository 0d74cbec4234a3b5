"""Who is in a batch, as tensors: where each row's slot is, how far its positions are shifted, what it must not see.

Shapes: G groups, N slots a group, B live rows, T prefix tokens, C columns; Y, H, D as in kv.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsi_node.engine.kv import KVShape


@dataclass(slots=True, eq=False)
class Group:
    """Rows behind one prefix of `length` tokens. pad: the column of their first own token. live: rows, ascending."""

    length: int
    pad: int
    live: list[int]


@dataclass(frozen=True, slots=True)
class Seats:
    """Made anew when a group or a row comes or goes.

    slots (B,): each live row's place among the G·N. rows (G·N,): the live row of each slot; of an empty one, any. full:
    no slot is empty. offsets (B,): a row's positions less its columns. tokens: of the longest prefix. start: the first
    column in use. mask: −inf where a group sees nothing, over `tokens`, then over the columns from `start`; None for
    nowhere. positions: where each of these stands in the sequence of a group's rows, (G, tokens + columns).
    prefixes: 2·Y tensors (G, H, tokens, D).
    """

    slots: Tensor
    rows: Tensor
    offsets: Tensor
    full: bool
    tokens: int
    start: int
    mask: Tensor | None
    positions: Tensor
    prefixes: tuple[Tensor, ...]


def nobody() -> Seats:
    """No one is here."""
    none = torch.empty(0, dtype=torch.long)
    return Seats(none, none, none, full=True, tokens=0, start=0, mask=None, positions=none, prefixes=())


class Seating(NamedTuple):
    """Of some groups: slots, rows and offsets as in `Seats`; the lengths of their prefixes, and pads, (G,)."""

    slots: NDArray[np.int64]
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    pads: NDArray[np.int64]


def placed(groups: Sequence[Group], n: int) -> Seating:
    """The places of groups of n slots each."""
    slots = np.array([g * n + row for g, group in enumerate(groups) for row in group.live])
    rows = np.zeros(len(groups) * n, dtype=np.int64)
    rows[slots] = np.arange(len(slots))
    lengths = np.array([group.length for group in groups])
    pads = np.array([group.pad for group in groups])
    return Seating(slots, rows, np.repeat(lengths - pads, [len(group.live) for group in groups]), lengths, pads)


def seated(groups: Sequence[Group], shape: KVShape, prefix: Tensor, suffix: Tensor) -> Seats:
    """The seats of these groups. prefix, suffix: the batch's stores, (Y, 2, G, H, T, D) and (Y, 2, G, N, H, C, D)."""
    n, columns = suffix.shape[3], suffix.shape[-2]
    slots, rows, offsets, lengths, pads = placed(groups, n)
    shifts = lengths - pads
    tokens, start = int(lengths.max()), int(pads.min())
    hidden = np.concatenate(
        (np.arange(tokens) >= lengths[:, None], np.arange(start, columns) < pads[:, None]),
        axis=1,
    )
    positions = np.concatenate(
        (np.broadcast_to(np.arange(tokens), (len(groups), tokens)), np.arange(start, columns) + shifts[:, None]),
        axis=1,
    )
    mask = None
    if hidden.any():
        mask = torch.from_numpy(np.where(hidden, -np.inf, 0.0)[:, None, None, None, None]).to(shape.device, shape.wide)
    return Seats(
        torch.from_numpy(slots).to(shape.device),
        torch.from_numpy(rows).to(shape.device),
        torch.from_numpy(offsets).to(shape.device),
        full=len(slots) == len(groups) * n,
        tokens=tokens,
        start=start,
        mask=mask,
        positions=torch.from_numpy(positions).to(shape.device),
        prefixes=prefix[:, :, : len(groups), :, :tokens].flatten(0, 1).unbind(0),
    )
