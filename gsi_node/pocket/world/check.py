"""Exact checks of steps and answers.

A step is right if and only if it is one of the acceptable texts at its position in the problem's solution and every
step before it is right; operator glyphs and white space do not matter. There is no heuristic: a text is on the solution
path or it is not (a true statement that is off the path counts as wrong, as does everything after a wrong step).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from gsi_node.answer import last_boxed

_GLYPHS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
_NUMBER = re.compile(r"-?\d{1,12}(/\d{1,12})?")


class Checkable(Protocol):
    """What the checks need of a problem."""

    @property
    def answer(self) -> str:
        """The exact answer."""

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """The acceptable texts at each position."""


def normal(text: str) -> str:
    """The text with ASCII operators, single spaces and nothing around it."""
    return " ".join(text.translate(_GLYPHS).split())


def first_error(problem: Checkable, steps: Sequence[str]) -> int | None:
    """The index of the first wrong step, None when all given steps are right (they may be incomplete)."""
    for index, step in enumerate(steps):
        if index >= len(problem.alternatives):
            return index
        if normal(step) not in {normal(text) for text in problem.alternatives[index]}:
            return index
    return None


def check_step(problem: Checkable, previous: Sequence[str], step: str) -> bool:
    """Whether `step` is right after the steps `previous`."""
    return first_error(problem, [*previous, step]) is None


def grade(problem: Checkable, response: str) -> bool:
    """Whether the last complete \\boxed{…} of the response equals the answer exactly, as a fraction."""
    content = last_boxed(response)
    if content is None:
        return False
    text = normal(content).replace(" ", "")
    if not _NUMBER.fullmatch(text):
        return False
    top, _, bottom = text.partition("/")
    if bottom and int(bottom) == 0:
        return False
    return Fraction(int(top), int(bottom or 1)) == Fraction(problem.answer)
