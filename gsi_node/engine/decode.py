"""Sampling rows of many requests together, a token at a time; parts join and leave between tokens.

The forward, the softmax and the draw are one operation for all rows; after it each row takes its token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsi_node.engine.batch import Batch
from gsi_node.engine.kv import KV
from gsi_node.engine.requests import Part, SampleRequest
from gsi_node.engine.row import SampledRow
from gsi_node.engine.runner import Runner
from gsi_node.engine.sampling import inverse_cdf, log_probs
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


class Decoder:
    """The rows being sampled by one engine."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.batch = Batch(runner.shape, runner.context_length)
        self._samplings: dict[Group, Sampling] = {}
        self._live: list[tuple[Sampling, int, SampledRow]] = []  # in the order of the batch's rows
        self._laws: dict[tuple[SamplingLaw, int], Tensor] = {}  # the live rows under each law
        self._fed = torch.empty(0)

    @property
    def parts(self) -> list[Part[SampleRequest]]:
        """What is being sampled."""
        return [sampling.part for sampling in self._samplings.values()]

    def join(self, parts: list[Part[SampleRequest]], contexts: list[tuple[KV, ...]]) -> None:
        """Sample these too, from their first token on."""
        room = min(ROOM, max(part.request.limit for part in parts))
        groups = self.batch.join(contexts, [len(part.which) for part in parts], room)
        for part, group in zip(parts, groups, strict=True):
            self._samplings[group] = Sampling(part, group, [part.request.row(i) for i in part.which])
        self._arrange()

    def leave(self, gone: list[Part[SampleRequest]]) -> None:
        """Stop sampling these."""
        self._drop([sampling for sampling in self._samplings.values() if sampling.part in gone])
        self._arrange()

    def clear(self) -> None:
        """Forget all rows. Allocates nothing."""
        self._samplings.clear()
        self.batch.groups.clear()

    def tick(self) -> None:
        """One more token for every row."""
        logits = self._runner.feed(self.batch, self._fed, last=True)[:, 0]
        uniforms = torch.tensor([row.uniform() for _, _, row in self._live], dtype=torch.float64)
        chosen, picked = self._choose(logits, uniforms.to(logits.device))
        drawn = torch.stack((chosen.double(), picked.double())).tolist()  # the only transfer: ids are exact
        ended = [live for live, id_, value in zip(self._live, *drawn, strict=True) if live[2].take(int(id_), value)]
        if ended:
            self._finish(ended)
        else:
            self._fed = chosen[:, None]

    def _choose(self, logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """One draw of each row under its own law, and its log-probability."""
        if len(self._laws) == 1:
            [(law, size)] = self._laws
            return _drawn(logits[:, :size], uniforms, law)
        chosen = torch.empty(len(logits), dtype=torch.long, device=logits.device)
        picked = torch.empty(len(logits), dtype=torch.float64, device=logits.device)
        for (law, size), rows in self._laws.items():
            ids, values = _drawn(logits[rows][:, :size], uniforms[rows], law)
            chosen[rows], picked[rows] = ids, values.double()
        return chosen, picked

    def _finish(self, ended: list[tuple[Sampling, int, SampledRow]]) -> None:
        """Hand out rows that have ended, and drop what need not be fed any more."""
        for sampling, i, row in ended:
            request = sampling.part.request
            self._runner.harvest(request.ids, (request.ids[-1], *row.ids[:-1]), self.batch, sampling.group, i)
            request.ended(sampling.part.which[i], row)
        over = [sampling for sampling in self._samplings.values() if not sampling.open]
        left = [sampling for sampling in self._samplings.values() if sampling.open]
        slim = sum(len(s.open) for s in left) <= DROP_BELOW * sum(len(s.group.live) for s in left)
        if slim:
            for sampling in left:
                sampling.group.live = sampling.open
        if slim or over:
            self._drop(over)
        self._arrange()

    def _drop(self, samplings: list[Sampling]) -> None:
        for sampling in samplings:
            del self._samplings[sampling.group]
        self.batch.leave([sampling.group for sampling in samplings])

    def _arrange(self) -> None:
        """What each row is fed next, and under which law it is drawn; to be called when the rows have changed."""
        samplings = [self._samplings[group] for group in self.batch.groups]
        self._live = [(sampling, i, sampling.rows[i]) for sampling in samplings for i in sampling.group.live]
        device = self.batch.shape.device
        self._fed = torch.tensor([[row.last] for _, _, row in self._live], device=device)
        laws: dict[tuple[SamplingLaw, int], list[int]] = {}
        for place, (_, _, row) in enumerate(self._live):
            laws.setdefault((row.law, row.size), []).append(place)
        self._laws = {law: torch.tensor(places, device=device) for law, places in laws.items()}


def _drawn(logits: Tensor, uniforms: Tensor, law: SamplingLaw) -> tuple[Tensor, Tensor]:
    logp = log_probs(logits, law)
    chosen = inverse_cdf(logp, uniforms)
    return chosen, logp.gather(-1, chosen[:, None])[:, 0]
