"""A row being sampled, as one object: its stream, its law, where it ends, and what was drawn so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from gsi_node.core.rng import Stream
from gsi_node.ends import END, START, StepEnds
from gsi_node.types import SamplingLaw

AHEAD = 64
"""Uniforms that a row draws at a time."""


@dataclass(slots=True, eq=False)
class SampledRow:
    """One candidate of a request. ids, log_probs: the tokens drawn so far, and log π of each, in nats.

    law, size: the softmax each is drawn from, over `size` ids. ends, limit: where the row ends, at the
    latest with so many tokens. last: what is fed next, the last token of the prefix at first.
    """

    stream: Stream
    law: SamplingLaw
    size: int
    ends: StepEnds
    limit: int
    last: int
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: bool = False
    _state: int = START
    _ahead: list[float] = field(default_factory=list)

    def uniform(self) -> float:
        """The stream's next value: one for each token."""
        if not self._ahead:
            self._ahead = self.stream.uniforms(AHEAD)[::-1].tolist()
        return self._ahead.pop()

    def take(self, token: int, log_prob: float) -> bool:
        """Add a token; whether the row ends with it. One that ended before is fed along, and keeps what it has."""
        if self.ended:
            return False
        self.last = token
        self.ids.append(token)
        self.log_probs.append(log_prob)
        self._state = int(self.ends.table[self._state, token])
        self.ended = self._state == END or len(self.ids) == self.limit
        return self.ended
