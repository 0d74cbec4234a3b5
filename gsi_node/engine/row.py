"""A row being sampled: its stream, and what was drawn so far, which is brought up to date when some row ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gsi_node.core.rng import Stream

AHEAD = 64
"""Uniforms that a row draws at a time."""


@dataclass(slots=True, eq=False)
class SampledRow:
    """One candidate of a request. ids, log_probs: the tokens drawn, and log π of each, in nats."""

    stream: Stream
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: bool = False


def next_uniforms(rows: Sequence[SampledRow], count: int) -> Tensor:
    """Of each row's stream, shape (count, rows), float64."""
    return torch.from_numpy(np.stack([row.stream.uniforms(count) for row in rows], axis=1))
