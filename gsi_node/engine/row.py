"""A row being sampled: the candidates that are one so far, and what they drew; brought up to date when a row ends or
splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gsi_node.core.rng import Stream

AHEAD = 64
"""Uniforms that a candidate draws at a time."""


@dataclass(slots=True, eq=False)
class SampledRow:
    """Candidates of a request whose tokens are equal so far: one row of the forward. candidates: places in the part.
    ids, log_probs: the tokens drawn, and log π of each, in nats."""

    candidates: list[int]
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: bool = False

    def split(self, drawn: Sequence[tuple[int, float]]) -> list[SampledRow]:
        """Rows of the candidates whose last token is not the first one's; they leave this one. drawn: the last token
        of each of its candidates, and its log π."""
        by_token: dict[int, list[int]] = {}
        for candidate, (token, _) in zip(self.candidates, drawn, strict=True):
            by_token.setdefault(token, []).append(candidate)
        log_prob = dict(drawn)
        self.candidates, *others = by_token.values()
        tokens = list(by_token)[1:]
        return [
            SampledRow(some, [*self.ids[:-1], token], [*self.log_probs[:-1], log_prob[token]])
            for token, some in zip(tokens, others, strict=True)
        ]


def next_uniforms(streams: Sequence[Stream], count: int) -> Tensor:
    """Of each stream, shape (count, streams), float64."""
    return torch.from_numpy(np.stack([stream.uniforms(count) for stream in streams], axis=1))
