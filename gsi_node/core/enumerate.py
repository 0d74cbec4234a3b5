"""All outcomes of a function that draws its randomness from a Chooser, each with its exact probability.

The function is replayed once per path through its random decisions; a path's probability is the product of its
decisions' probabilities. Exact up to float64 rounding, at the price of one replay per path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from gsi_node.core.weights import Floats, normalised

T = TypeVar("T")


class _Replay:
    """A Chooser that follows a given path of decisions, then takes the first possible branch of each new one."""

    def __init__(self, path: list[int]) -> None:
        self.path = path
        self.branches: list[list[tuple[int, float]]] = []  # per decision: the possible outcomes, with probabilities

    def _decide(self, options: list[tuple[int, float]]) -> int:
        possible = [(value, prob) for value, prob in options if prob > 0.0]
        depth = len(self.branches)
        self.branches.append(possible)
        if depth == len(self.path):
            self.path.append(0)
        return possible[self.path[depth]][0]

    def choose(self, log_weights: Floats) -> int:
        return self._decide([(i, float(p)) for i, p in enumerate(normalised(log_weights))])

    def accept(self, log_prob: float) -> bool:
        accepted = math.exp(log_prob)
        return bool(self._decide([(1, accepted), (0, 1.0 - accepted)]))

    @property
    def probability(self) -> float:
        return math.prod(branch[taken][1] for branch, taken in zip(self.branches, self.path, strict=True))


def outcomes(function: Callable[[_Replay], T]) -> Iterator[tuple[T, float]]:
    """Yield (function's value, probability) for every path of random decisions; the probabilities sum to 1."""
    path: list[int] = []
    while True:
        chooser = _Replay(path)
        value = function(chooser)
        yield value, chooser.probability
        while path and path[-1] + 1 == len(chooser.branches[len(path) - 1]):
            path.pop()
        if not path:
            return
        path[-1] += 1
