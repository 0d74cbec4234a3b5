"""What the harness passes around: a problem as the models see it, and a grade of one response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gsi_node.errors import GSIError

KINDS = ("exact", "math", "olympiad", "choice", "rg")
"""The graders: pocket's exact fractions, mathematics, OlympiadBench's rules, a letter, reasoning-gym's own scorer."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a set.

    `id` is unique and stable within the set and names the random streams; `problem` is the text given to the models
    (with lettered choices and how to answer, where there are choices); `answer` is the gold answer as graded; `kind`
    names the grader, one of KINDS; `meta` is what that grader needs besides, plain JSON values.
    """

    id: str
    problem: str
    answer: str
    kind: str
    meta: Mapping[str, object] = field(default_factory=dict)


class Ungraded(GSIError):
    """Nobody knows whether two answers are equal: a limit was reached, or the process that compared them died."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A graded response: `predicted` is the answer that was found in it, cut where it is absurdly long.

    `correct` is None where nobody knows (the limit was reached, the grading process died); `reason` then says why.
    `reason` says why a response is wrong where more is known than "another answer"; None otherwise.
    """

    correct: bool | None
    predicted: str | None
    reason: str | None
