"""Reward functions of one source that hold a value in different ways. Light, so that subprocesses can import it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

SCALE = 2.0
MARK = re.compile("so")
TABLE = np.array([1.0])


def scaled(problem: str, steps: list[str]) -> float:
    return SCALE * len(steps)


def marked(problem: str, steps: list[str]) -> float:
    return float(TABLE[0]) * bool(MARK.search(steps[-1]))


class Scorer:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, problem: str, steps: list[str]) -> float:
        return self.weight

    def score(self, problem: str, steps: list[str]) -> float:
        return self.weight


class Slotted:
    __slots__ = ("weight",)

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, problem: str, steps: list[str]) -> float:
        return self.weight


@dataclass
class Settings:
    weight: float


def closed_over(weight: Any) -> Callable[[str, list[str]], float]:
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
    "array of another shape": lambda weight: closed_over(np.zeros((1, 4) if weight == 0.5 else (2, 2))),
    "slots": Slotted,
    "dataclass": lambda weight: closed_over(Settings(weight)),
    "namespace": lambda weight: closed_over(SimpleNamespace(weight=weight)),
    "fraction": lambda weight: closed_over(Fraction(weight)),
    "pattern": lambda weight: closed_over(re.compile(str(weight))),
}
