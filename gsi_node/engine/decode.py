"""Sampling rows of many requests together, a token at a time; parts join and leave between tokens.

Candidates of a request are a tree: those whose tokens are equal so far see one next-token law, and are one row of the
forward, from which each draws by its own uniform; where they draw different tokens the row splits.
A tick is one forward, one draw and one step of the automata for all candidates at once, whatever their number; what it
drew stays where it is until a row ends or splits. Two numbers of a tick are read: how many candidates go on, and how
many drew otherwise than the first of their row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from gsi_node.core.rng import Stream
from gsi_node.ends import StepEnds
from gsi_node.engine.delta import ENDED, Delta
from gsi_node.engine.kv import KV
from gsi_node.engine.requests import Part, SampleRequest
from gsi_node.engine.row import AHEAD, SampledRow, next_uniforms
from gsi_node.engine.runner import Runner
from gsi_node.engine.sampling import Memory, Softmax
from gsi_node.engine.seats import Group
from gsi_node.types import SamplingLaw

DROP_BELOW = 0.75
"""Finished rows leave the batch when at most this share of it is unfinished; until then they ride along, ignored."""
ROOM = 64
"""Tokens that memory is laid out for at first."""


@dataclass(slots=True, eq=False)
class Sampling:
    """One part being sampled: its place in the batch, what its candidates draw from, and its rows by their slots."""

    part: Part[SampleRequest]
    group: Group
    streams: list[Stream]
    rows: list[SampledRow]

    @property
    def open(self) -> list[int]:
        """The rows that have not ended, ascending."""
        return [i for i, row in enumerate(self.rows) if not row.ended]

    @property
    def left(self) -> int:
        """Tokens until all its rows have ended."""
        return self.part.request.limit - max(len(row.ids) for row in self.rows)


class _Law(NamedTuple):
    """What a candidate is sampled under: a softmax over `size` ids, and where it ends."""

    law: SamplingLaw
    size: int
    ends: StepEnds


class _Under(NamedTuple):
    """Who is sampled under one law. rows: places of rows. candidates: places of theirs. row: the place among `rows` of
    each candidate's."""

    rows: Tensor
    candidates: Tensor
    row: Tensor


class Decoder:
    """The rows being sampled by one engine. Its tensors are by candidate, those of a row together, rows in the order of
    the batch's. tree: False gives every candidate a row of its own from the start, to compare with."""

    def __init__(self, runner: Runner, *, tree: bool = True) -> None:
        self._runner, self._tree = runner, tree
        self.batch = runner.decoding()
        self._samplings: dict[Group, Sampling] = {}
        self._live: list[tuple[Sampling, int]] = []  # the candidates
        self._rows: list[tuple[Sampling, int]] = []  # by their slots, as the batch had them when `_arrange` saw them
        self._laws: dict[_Law, _Under] = {}
        self._memory = Memory()
        self._deltas: WeakKeyDictionary[StepEnds, Delta] = WeakKeyDictionary()
        self._fed = self._states = torch.empty(0, dtype=torch.long, device=runner.device)
        self._first = self._lead = self._fed  # the first candidate of each row, and of each candidate's row
        self._ahead = torch.empty(0, 0, dtype=torch.float64, device=runner.device)  # uniforms of the next ticks
        self._drawn: list[tuple[Tensor, Tensor]] = []  # in the ticks that the rows do not know yet
        self._open = self._left = 0  # candidates that have not ended, and ticks until one has its most tokens

    @property
    def parts(self) -> list[Part[SampleRequest]]:
        """What is being sampled."""
        return [sampling.part for sampling in self._samplings.values()]

    def join(self, parts: list[Part[SampleRequest]], contexts: list[tuple[KV, ...]]) -> None:
        """Sample these too, from their first token on."""
        room = min(ROOM, max(part.request.limit for part in parts))
        rows = [self._begun(len(part.which)) for part in parts]
        if not self.batch.groups:
            self.batch = self._runner.decoding(self.batch)
        groups = self.batch.join(contexts, list(map(len, rows)), room)
        self._catch_up()
        for part, group, theirs in zip(parts, groups, rows, strict=True):
            request, n = part.request, len(part.which)
            streams = [request.stream(candidate) for candidate in part.which]
            self._fed = torch.cat((self._fed, self._fed.new_full((n,), request.ids[-1])))
            self._states = torch.cat((self._states, self._states.new_full((n,), self._delta(request.ends).start)))
            ahead = next_uniforms(streams, len(self._ahead)).to(self._ahead.device)
            self._ahead = torch.cat((self._ahead, ahead), dim=1)
            self._samplings[group] = Sampling(part, group, streams, theirs)
            self._live += [(self._samplings[group], i) for i in range(n)]
        self._arrange()

    def _begun(self, n: int) -> list[SampledRow]:
        return [SampledRow(list(range(n)))] if self._tree else [SampledRow([i]) for i in range(n)]

    def leave(self, gone: list[Part[SampleRequest]]) -> None:
        """Stop sampling these."""
        samplings = [sampling for sampling in self._samplings.values() if sampling.part in gone]
        self._drop(samplings)
        self._arrange()
        for sampling in samplings:  # whose rows know by now what was drawn
            sampling.part.request.drawn += sum(len(row.ids) * len(row.candidates) for row in sampling.rows)

    def clear(self) -> None:
        """Forget all rows, whatever was being done with them. Allocates nothing."""
        self._samplings.clear()
        self.batch.groups.clear()
        self._live, self._rows, self._drawn = [], [], []
        self._fed, self._states, self._ahead = self._fed[:0], self._states[:0], self._ahead[:, :0]
        self._first, self._lead = self._first[:0], self._lead[:0]

    def tick(self) -> None:
        """One more token for every candidate."""
        if not len(self._ahead):
            streams = [sampling.streams[i] for sampling, i in self._live]
            self._ahead = next_uniforms(streams, AHEAD).to(self._ahead.device)
        logits = self._runner.feed(self.batch, self._fed[self._first, None], last=True)[:, 0]
        going = self._states != ENDED  # what was fed along draws, too, and nobody looks
        self._fed, values, self._states = self._choose(logits, self._ahead[0], self._states)
        self._ahead = self._ahead[1:]
        self._drawn.append((self._fed, values))
        apart = going & (self._fed != self._fed[self._lead])
        left, other = torch.stack((self._states, apart)).count_nonzero(1).tolist()  # the only transfer
        over = left < self._open or len(self._drawn) == self._left
        if other:
            self._split()
        if over:
            self._finish()

    def _choose(self, logits: Tensor, uniforms: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One draw of each candidate under its own law, its log-probability, and the state after it."""
        if len(self._laws) == 1:
            [(law, under)] = self._laws.items()
            return self._under(law, logits, under.row, uniforms, states)
        ids, values, after = torch.empty_like(states), torch.empty_like(uniforms), torch.empty_like(states)
        for law, (rows, places, row) in self._laws.items():
            chosen, picked, then = self._under(law, logits[rows], row, uniforms[places], states[places])
            ids[places], values[places], after[places] = chosen, picked, then
        return ids, values, after

    def _under(
        self, law: _Law, logits: Tensor, rows: Tensor, uniforms: Tensor, states: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        softmax = Softmax.of(logits[:, : law.size], law.law, self._memory)
        ids = softmax.draw(rows, uniforms)
        return ids, softmax.at(rows, ids), self._delta(law.ends).after(states, ids)

    def _delta(self, ends: StepEnds) -> Delta:
        if ends not in self._deltas:
            self._deltas[ends] = Delta.of(ends, self._runner.device)
        return self._deltas[ends]

    def _finish(self) -> None:
        """Hand out rows that have ended, and drop what need not be fed any more."""
        self._catch_up()
        ended: dict[SampleRequest, dict[int, SampledRow]] = {}
        for (sampling, slot), state in zip(self._rows, self._states[self._first].tolist(), strict=True):
            row, request = sampling.rows[slot], sampling.part.request
            if not row.ended and (state == ENDED or len(row.ids) == request.limit):
                self._runner.harvest(request.ids, (request.ids[-1], *row.ids[:-1]), self.batch, sampling.group, slot)
                rows = ended.setdefault(request, {})
                rows.update((sampling.part.which[candidate], row) for candidate in row.candidates)
                row.ended = True
        for request, rows in ended.items():
            request.ended(rows)
        over = [sampling for sampling in self._samplings.values() if not sampling.open]
        left = [sampling for sampling in self._samplings.values() if sampling.open]
        slim = sum(len(s.open) for s in left) <= DROP_BELOW * sum(len(s.group.live) for s in left)
        if slim:
            for sampling in left:
                sampling.group.live = sampling.open
        if slim or over:
            self._drop(over)
            self._arrange()
        else:
            self._count()

    def _split(self) -> None:
        """Candidates that drew otherwise than the first of their row become rows of their own."""
        drawn = dict(zip(self._live, zip(*(tensor.tolist() for tensor in self._drawn[-1]), strict=True), strict=True))
        self._catch_up()
        for sampling, slot in self._rows:
            row = sampling.rows[slot]
            if not row.ended:
                for other in row.split([drawn[sampling, candidate] for candidate in row.candidates]):
                    new = self.batch.split(sampling.group, slot)
                    sampling.rows[new : new + 1] = [other]
        self.batch.changed()
        self._arrange()

    def _drop(self, samplings: list[Sampling]) -> None:
        for sampling in samplings:
            del self._samplings[sampling.group]
        self.batch.leave([sampling.group for sampling in samplings])

    def _arrange(self) -> None:
        """The candidates that are left, as the batch has their rows; to be called when these have changed."""
        self._catch_up()
        was = {candidate: place for place, candidate in enumerate(self._live)}
        self._rows = [(self._samplings[group], slot) for group in self.batch.groups for slot in group.live]
        self._live = []
        first: list[int] = []
        lead: list[int] = []
        laws: dict[_Law, tuple[list[int], list[int], list[int]]] = {}
        for sampling, slot in self._rows:
            candidates, request = sampling.rows[slot].candidates, sampling.part.request
            rows, places, row = laws.setdefault(_Law(request.law, request.size, request.ends), ([], [], []))
            row += [len(rows)] * len(candidates)
            rows.append(len(first))
            places += range(len(self._live), len(self._live) + len(candidates))
            first.append(len(self._live))
            lead += [len(self._live)] * len(candidates)
            self._live += [(sampling, candidate) for candidate in candidates]
        kept = self._places([was[candidate] for candidate in self._live])
        self._fed, self._states, self._ahead = (
            tensor.index_select(-1, kept) for tensor in (self._fed, self._states, self._ahead)
        )
        self._first, self._lead = self._places(first), self._places(lead)
        self._laws = {law: _Under(*map(self._places, under)) for law, under in laws.items()}
        self._count()

    def _places(self, places: list[int]) -> Tensor:
        return torch.tensor(places, dtype=torch.long, device=self._fed.device)

    def _catch_up(self) -> None:
        """Let the rows know what was drawn; one that ended before was fed along, and keeps what it has."""
        if self._drawn:
            first = self._first
            ids, values = (torch.stack(each, dim=1)[first].tolist() for each in zip(*self._drawn, strict=True))
            for (sampling, slot), more, their in zip(self._rows, ids, values, strict=True):
                if not sampling.rows[slot].ended:
                    sampling.rows[slot].ids += more
                    sampling.rows[slot].log_probs += their
            self._drawn = []

    def _count(self) -> None:
        self._open = sum(len(s.rows[slot].candidates) for s in self._samplings.values() for slot in s.open)
        self._left = min((sampling.left for sampling in self._samplings.values()), default=0)
