"""Reward functions of one source that hold a value in different ways. Light, so that subprocesses can import it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

SCALE = 2.0


def scaled(problem: str, steps: list[str]) -> float:
    return SCALE * len(steps)


class Scorer:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, problem: str, steps: list[str]) -> float:
        return self.weight

    def score(self, problem: str, steps: list[str]) -> float:
        return self.weight


def closed_over(weight: float) -> Callable[[str, list[str]], float]:
    return lambda problem, steps: weight


def by_default(weight: float) -> Callable[[str, list[str]], float]:
    def score(problem: str, steps: list[str], weight: float = weight) -> float:
        return weight

    return score


def weighted(weight: float, problem: str, steps: list[str]) -> float:
    return weight


def looked_up(weight: float) -> Callable[[str, list[str]], float]:
    table = np.array([weight])
    return lambda problem, steps: float(table[0])


MAKERS: dict[str, Callable[[float], Any]] = {
    "closure": closed_over,
    "default": by_default,
    "partial": lambda weight: partial(weighted, weight),
    "object": Scorer,
    "method": lambda weight: Scorer(weight).score,
    "array": looked_up,
}
