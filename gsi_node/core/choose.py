"""Choices: every random one goes through a `Chooser`, keyed streams in production, enumeration in `law`; and a vote."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gsi_node.core.rng import Stream
from gsi_node.core.weights import Floats, normalised
from gsi_node.types import Array, Key

_SPACES = re.compile(r"(?<![0-9]) | (?![0-9])")


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


def random_order(n: int, chooser: Chooser) -> list[int]:
    """A uniformly random order of 0 … n − 1."""
    rest = list(range(n))
    return [rest.pop(chooser.choose(np.zeros(len(rest)))) for _ in range(n)]


def first_hit(log_probs: Floats, chooser_of: Callable[[int], Chooser]) -> int | None:
    """The first i that hits, each with probability exp(log_probs[i]), asking chooser_of(i); None where none does."""
    hits = (i for i, log_prob in enumerate(log_probs) if chooser_of(i).accept(min(0.0, float(log_prob))))
    return next(hits, None)


def below_envelope(log_w: Floats, log_envelope: float) -> Array:
    """log v_i, v_i = w_i / (1 − w_i e^{−K}): given that no log w_i + E_i reaches K, E_i ~ Exp(1), their argmax has the
    law of the argmax of log v_i + E_i without that condition (docs/math.md §6). K = log_envelope ≥ max log w. Nats.
    """
    a = np.asarray(log_w, dtype=np.float64)
    return np.asarray(a - np.log(-np.expm1(np.minimum(a - log_envelope, -1e-300))))  # at K itself: a hit, not here


@dataclass(frozen=True, slots=True)
class Ballot:
    """One group of equal answers: the first of them, the sum of its voters' weights, the voters by index."""

    answer: str
    weight: float
    voters: tuple[int, ...]


def plain_answer(answer: str) -> str:
    """An answer without dollar signs and spaces, but for one between two digits ("1 1/2"); every fraction a \\frac."""
    bare = " ".join(answer.replace("$", "").replace("\\!", "").replace("\\,", "").split())
    return _SPACES.sub("", bare).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")


def same_text(first: str, second: str) -> bool:
    """Equality of plain answers."""
    return plain_answer(first) == plain_answer(second)


def vote(
    answers: Sequence[str | None],
    same: Callable[[str, str], bool] = same_text,
    weights: Sequence[float] | None = None,
) -> list[Ballot]:
    """Majority vote: groups of equal answers by falling weight, then by lowest voter; the winner first.

    answers: one a response, None for a response without one: it does not vote. same(first, answer) decides whether an
    answer joins a group, asked of the groups in the order of their first voters, so that the result is well defined
    even where `same` is not transitive. weights: one a response, finite (None: 1 each), dimensionless.
    """
    groups: list[list[tuple[int, str]]] = []
    for voter, answer in enumerate(answers):
        if answer is not None:
            group = next((group for group in groups if same(group[0][1], answer)), None)
            if group is None:
                groups.append(group := [])
            group.append((voter, answer))

    def ballot(group: list[tuple[int, str]]) -> Ballot:
        voters = tuple(voter for voter, _ in group)
        weight = float(len(voters)) if weights is None else math.fsum(weights[voter] for voter in voters)
        return Ballot(group[0][1], weight, voters)

    return sorted(map(ballot, groups), key=lambda ballot: (-ballot.weight, ballot.voters[0]))
