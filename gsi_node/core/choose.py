"""Every random decision of a run goes through one `Chooser`: keyed streams in production, enumeration in `law`."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from gsi_node.core.rng import Stream
from gsi_node.core.weights import Floats, normalised
from gsi_node.types import Key


class Chooser(Protocol):
    def choose(self, log_weights: Floats) -> int:
        """i with probability w_i / Σ w_j, from log-weights in nats, at least one of them above −inf."""
        ...

    def accept(self, log_prob: float) -> bool:
        """True with probability exp(log_prob), log_prob ≤ 0 in nats."""
        ...


class KeyedChooser:
    """Decisions from one keyed stream: the same key and the same weights give the same decisions on every machine."""

    __slots__ = ("_stream",)

    def __init__(self, key: Key, candidate: int = 0) -> None:
        self._stream = Stream(key, candidate)

    def choose(self, log_weights: Floats) -> int:
        cumulative = np.cumsum(normalised(log_weights))
        index = int(np.searchsorted(cumulative, self._stream.uniform() * cumulative[-1], side="right"))
        # rounding may push u·total up to the total itself: then take the last candidate of positive weight
        return min(index, int(np.flatnonzero(np.asarray(log_weights) > -math.inf)[-1]))

    def accept(self, log_prob: float) -> bool:
        return self._stream.uniform() < math.exp(log_prob)
