"""Sampling rows of many requests together, a token at a time; parts join and leave between tokens.

Everything that happens for every token is one operation for all rows; Python looks at single rows only when they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsi_node.engine.batch import CHUNK, Batch, Group
from gsi_node.engine.requests import Draw, Part
from gsi_node.engine.rows import KV
from gsi_node.engine.sampling import inverse_cdf, log_probs
from gsi_node.types import SamplingLaw

if TYPE_CHECKING:
    from gsi_node.engine.forward import Engine

DROP_BELOW = 0.75
"""Finished rows leave the batch when at most this share of it is unfinished; until then they ride along, ignored."""
ROOM = 64
"""Tokens that memory is laid out for at first."""


class _Sampled:
    """One part being sampled: its streams, and which of its rows have not ended."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.draw: Draw = part.request
        self.streams = self.draw.streams(part)
        self.open = set(range(len(part.which)))


class Decoder:
    """The rows being sampled by one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.batch = Batch(engine.layout, engine.context_length)
        self._fed = torch.empty(0)
        self._ends = np.empty((0, 0), dtype=np.bool_)
        self._end_of = self._law_of = self._last = np.empty(0, dtype=np.int64)
        self._laws: list[tuple[SamplingLaw, int]] = []
        self._stops: dict[tuple[frozenset[int], int], NDArray[np.bool_]] = {}

    @property
    def parts(self) -> list[Part]:
        """What is being sampled."""
        return [group.owner.part for group in self.batch.groups if group.owner is not None]  # None: failed to join

    def join(self, parts: list[Part], contexts: list[tuple[KV, ...]]) -> None:
        """Sample these too, from their first token on."""
        room = min(ROOM, max(part.request.limit for part in parts))
        groups = self.batch.join(contexts, [len(part.which) for part in parts], room)
        for group, part in zip(groups, parts, strict=True):
            group.owner = _Sampled(part)
            self._refill(group, self.batch.ticks % CHUNK)
        self._feed_next(self.batch.groups)

    def leave(self, gone: list[Part]) -> None:
        """Stop sampling these."""
        self.batch.leave([group for group in self.batch.groups if group.owner.part in gone])
        self._feed_next(self.batch.groups)

    def tick(self) -> None:
        """One more token for every row."""
        batch = self.batch
        logits = self._engine.feed(batch, self._fed, last=True)[:, 0]
        column, clock = batch.end - 1, batch.ticks - 1
        if clock and clock % CHUNK == 0:
            for group in batch.groups:
                if group.pad < column:
                    self._refill(group, 0)
        uniforms = torch.from_numpy(batch.draws[..., clock % CHUNK].reshape(-1)[batch.slots])
        chosen, picked = self._choose(logits, uniforms.to(logits.device))
        ids, values = torch.stack((chosen.double(), picked.double())).cpu().numpy()  # the only transfer: ids are exact
        flat = ids.astype(np.int64)
        n = batch.ids.shape[1]
        batch.ids.reshape(-1, batch.ids.shape[2])[batch.slots, column] = flat
        batch.values.reshape(-1, batch.ids.shape[2])[batch.slots, column] = values
        done = self._ends[self._end_of, flat] | (self._last == clock)
        if done.any():
            self._finish([(int(slot) // n, int(slot) % n) for slot in batch.slots[done]], column)
        else:
            self._fed = chosen[:, None]

    def _choose(self, logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """One draw of each row under its own law, and its log-probability."""
        if len(self._laws) == 1:
            law, size = self._laws[0]
            logp = log_probs(logits[:, :size], law)
            chosen = inverse_cdf(logp, uniforms)
            return chosen, logp.gather(-1, chosen[:, None])[:, 0]
        chosen = torch.empty(len(logits), dtype=torch.long, device=logits.device)
        picked = torch.empty(len(logits), dtype=torch.float64, device=logits.device)
        for index, (law, size) in enumerate(self._laws):
            rows = torch.from_numpy(np.flatnonzero(self._law_of == index)).to(logits.device)
            logp = log_probs(logits[rows][:, :size], law)
            found = inverse_cdf(logp, uniforms[rows])
            chosen[rows] = found
            picked[rows] = logp.gather(-1, found[:, None])[:, 0].double()
        return chosen, picked

    def _finish(self, rows: list[tuple[int, int]], column: int) -> None:
        """Hand out rows that have ended, and drop what need not be fed any more."""
        batch = self.batch
        for g, row in rows:
            group = batch.groups[g]
            sampled: _Sampled = group.owner
            if row in sampled.open:
                sampled.open.remove(row)
                ids = batch.ids[g, row, group.pad : column + 1].tolist()
                values = batch.values[g, row, group.pad : column + 1].tolist()
                draw = sampled.draw
                self._engine.harvest(draw.ids, (draw.ids[-1], *ids[:-1]), batch, group, row)
                draw.ended(sampled.part.which[row], ids, values)
        gone = [group for group in batch.groups if not group.owner.open]
        live = sum(len(group.owner.open) for group in batch.groups)
        rest = sum(len(group.live) for group in batch.groups if group.owner.open)
        slim = bool(live) and live <= DROP_BELOW * rest
        kept = [group for group in batch.groups if group.owner.open]
        if slim:
            for group in kept:
                group.live = sorted(group.owner.open)
        if gone:
            batch.leave(gone)
        elif slim:
            batch.changed()
        self._feed_next(batch.groups)

    def _feed_next(self, groups: list[Group]) -> None:
        """What each row is fed next, its law and its last tick; to be called when the rows have changed."""
        batch = self.batch
        if not groups:
            return
        counts = [len(group.live) for group in groups]
        draws = [group.owner.draw for group in groups]
        ages = np.repeat([batch.end - group.pad for group in groups], counts)
        first = np.repeat([draw.ids[-1] for draw in draws], counts)
        latest = batch.ids.reshape(-1, batch.ids.shape[2])[batch.slots, max(batch.end - 1, 0)]
        fed = np.where(ages == 0, first, latest)
        self._fed = torch.from_numpy(fed[:, None]).to(batch.layout.device)
        laws: dict[tuple[SamplingLaw, int], int] = {}
        known = [(SamplingLaw(draw.law.temperature, draw.law.top_p), draw.size) for draw in draws]
        of = [laws.setdefault(law, len(laws)) for law in known]
        stops: dict[tuple[frozenset[int], int], int] = {}
        ends = [stops.setdefault((draw.stops, draw.size), len(stops)) for draw in draws]
        self._laws, self._law_of = list(laws), np.repeat(of, counts)
        self._end_of = np.repeat(ends, counts)
        self._ends = np.stack([self._table(*stop) for stop in stops])
        self._last = np.repeat([batch.ticks - batch.end + g.pad + g.owner.draw.limit - 1 for g in groups], counts)

    def _table(self, stops: frozenset[int], size: int) -> NDArray[np.bool_]:
        """Which ids end a row."""
        if (stops, size) not in self._stops:
            if len(self._stops) > 16:
                self._stops.clear()
            table = np.zeros(size, dtype=np.bool_)
            table[list(stops)] = True
            self._stops[stops, size] = table
        return self._stops[stops, size]

    def _refill(self, group: Group, offset: int) -> None:
        """The next uniforms of a group's rows, from place `offset` of the ring on."""
        g = self.batch.groups.index(group)
        for row, stream in enumerate(group.owner.streams):
            self.batch.draws[g, row, offset:] = stream.uniforms(CHUNK - offset)
