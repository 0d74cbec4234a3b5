"""Sampling rows of many requests together, a token at a time; parts join and leave between tokens.

A tick is one forward, one draw and one step of the automata for all rows at once, whatever their number; what it drew
stays where it is until a row ends. One number of a tick is read: how many rows go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from gsi_node.ends import StepEnds
from gsi_node.engine.batch import Batch
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
    """One part being sampled: its place in the batch, and its rows."""

    part: Part[SampleRequest]
    group: Group
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
    """What a row is sampled under: a softmax over `size` ids, and where it ends."""

    law: SamplingLaw
    size: int
    ends: StepEnds


class Decoder:
    """The rows being sampled by one engine."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.batch = Batch(runner.shape, runner.context_length)
        self._samplings: dict[Group, Sampling] = {}
        self._live: list[tuple[Sampling, int]] = []  # in the order of the batch's rows, as all that is a tensor
        self._laws: dict[_Law, Tensor] = {}  # the live rows under each
        self._memory = Memory()
        self._deltas: WeakKeyDictionary[StepEnds, Delta] = WeakKeyDictionary()
        self._fed = self._states = torch.empty(0, dtype=torch.long, device=runner.device)
        self._ahead = torch.empty(0, 0, dtype=torch.float64, device=runner.device)  # uniforms of the next ticks
        self._drawn: list[tuple[Tensor, Tensor]] = []  # in the ticks that the rows do not know yet
        self._open = self._left = 0  # rows that have not ended, and ticks until one has its most tokens

    @property
    def parts(self) -> list[Part[SampleRequest]]:
        """What is being sampled."""
        return [sampling.part for sampling in self._samplings.values()]

    def join(self, parts: list[Part[SampleRequest]], contexts: list[tuple[KV, ...]]) -> None:
        """Sample these too, from their first token on."""
        room = min(ROOM, max(part.request.limit for part in parts))
        groups = self.batch.join(contexts, [len(part.which) for part in parts], room)
        self._catch_up()
        for part, group in zip(parts, groups, strict=True):
            request, n = part.request, len(part.which)
            rows = [request.row(candidate) for candidate in part.which]
            self._fed = torch.cat((self._fed, self._fed.new_full((n,), request.ids[-1])))
            self._states = torch.cat((self._states, self._states.new_full((n,), self._delta(request.ends).start)))
            ahead = next_uniforms(rows, len(self._ahead)).to(self._ahead.device)
            self._ahead = torch.cat((self._ahead, ahead), dim=1)
            self._samplings[group] = Sampling(part, group, rows)
            self._live += [(self._samplings[group], i) for i in range(n)]
        self._arrange()

    def leave(self, gone: list[Part[SampleRequest]]) -> None:
        """Stop sampling these."""
        self._drop([sampling for sampling in self._samplings.values() if sampling.part in gone])
        self._arrange()

    def clear(self) -> None:
        """Forget all rows, whatever was being done with them. Allocates nothing."""
        self._samplings.clear()
        self.batch.groups.clear()
        self._live, self._drawn = [], []
        self._fed, self._states, self._ahead = self._fed[:0], self._states[:0], self._ahead[:, :0]

    def tick(self) -> None:
        """One more token for every row."""
        if not len(self._ahead):
            rows = [sampling.rows[i] for sampling, i in self._live]
            self._ahead = next_uniforms(rows, AHEAD).to(self._ahead.device)
        logits = self._runner.feed(self.batch, self._fed[:, None], last=True)[:, 0]
        self._fed, values, self._states = self._choose(logits, self._ahead[0], self._states)
        self._ahead = self._ahead[1:]
        self._drawn.append((self._fed, values))
        if int(self._states.count_nonzero()) < self._open or len(self._drawn) == self._left:  # the only transfer
            self._finish()

    def _choose(self, logits: Tensor, uniforms: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One draw of each row under its own law, its log-probability, and the state after it."""
        if len(self._laws) == 1:
            [law] = self._laws
            return self._under(law, logits, uniforms, states)
        ids, values, after = torch.empty_like(states), torch.empty_like(uniforms), torch.empty_like(states)
        for law, places in self._laws.items():
            chosen, picked, then = self._under(law, logits[places], uniforms[places], states[places])
            ids[places], values[places], after[places] = chosen, picked, then
        return ids, values, after

    def _under(self, law: _Law, logits: Tensor, uniforms: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        softmax = Softmax.of(logits[:, : law.size], law.law, self._memory)
        ids = softmax.draw(uniforms)
        return ids, softmax.log_probs(ids[:, None])[:, 0], self._delta(law.ends).after(states, ids)

    def _delta(self, ends: StepEnds) -> Delta:
        if ends not in self._deltas:
            self._deltas[ends] = Delta.of(ends, self._runner.device)
        return self._deltas[ends]

    def _finish(self) -> None:
        """Hand out rows that have ended, and drop what need not be fed any more."""
        self._catch_up()
        for (sampling, i), state in zip(self._live, self._states.tolist(), strict=True):
            row, request = sampling.rows[i], sampling.part.request
            if not row.ended and (state == ENDED or len(row.ids) == request.limit):
                self._runner.harvest(request.ids, (request.ids[-1], *row.ids[:-1]), self.batch, sampling.group, i)
                request.ended(sampling.part.which[i], row)
                row.ended = True
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

    def _drop(self, samplings: list[Sampling]) -> None:
        for sampling in samplings:
            del self._samplings[sampling.group]
        self.batch.leave([sampling.group for sampling in samplings])

    def _arrange(self) -> None:
        """The rows that are left, as the batch has them; to be called when they have changed."""
        self._catch_up()
        was = {row: place for place, row in enumerate(self._live)}
        samplings = [self._samplings[group] for group in self.batch.groups]
        self._live = [(sampling, i) for sampling in samplings for i in sampling.group.live]
        kept = torch.tensor([was[row] for row in self._live], dtype=torch.long, device=self._fed.device)
        self._fed, self._states, self._ahead = (
            tensor.index_select(-1, kept) for tensor in (self._fed, self._states, self._ahead)
        )
        laws: dict[_Law, list[int]] = {}
        for place, (sampling, _) in enumerate(self._live):
            request = sampling.part.request
            laws.setdefault(_Law(request.law, request.size, request.ends), []).append(place)
        self._laws = {law: torch.tensor(places, device=self._fed.device) for law, places in laws.items()}
        self._count()

    def _catch_up(self) -> None:
        """Let the rows know what was drawn; one that ended before was fed along, and keeps what it has."""
        if self._drawn:
            ids, values = (torch.stack(tensors, dim=1).tolist() for tensors in zip(*self._drawn, strict=True))
            for (sampling, i), more, their in zip(self._live, ids, values, strict=True):
                if not sampling.rows[i].ended:
                    sampling.rows[i].ids += more
                    sampling.rows[i].log_probs += their
            self._drawn = []

    def _count(self) -> None:
        self._open = sum(len(sampling.open) for sampling in self._samplings.values())
        self._left = min((sampling.left for sampling in self._samplings.values()), default=0)
