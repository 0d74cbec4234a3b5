"""Pocket math: a small world of school problems with exact answers and exact step checking.

Everything is a pure function of its arguments; randomness comes from the seed given to `problems`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Literal, get_args

from gsi_node.pocket.world import algebra, arithmetic, divisibility, lowest_terms, stories
from gsi_node.pocket.world.check import check_step, first_error, grade
from gsi_node.pocket.world.content import Content, ProblemFamily, Wordings

__all__ = ["FAMILIES", "PocketProblem", "Split", "check_step", "first_error", "grade", "problems", "split_of", "word"]

Split = Literal["train", "validation", "test"]

FAMILIES: dict[str, ProblemFamily] = {
    "chain": arithmetic.CHAIN,
    "expression": arithmetic.EXPRESSION,
    "fraction_sum": lowest_terms.SUM,
    "lowest_terms": lowest_terms.REDUCE,
    "linear": algebra.LINEAR,
    "sequence": algebra.SEQUENCE,
    "percent": divisibility.PERCENT,
    "remainder": divisibility.REMAINDER,
    "gcd": divisibility.GCD,
    "rate": stories.RATE,
    "rectangle": stories.RECTANGLE,
    "word": stories.WORD,
}
"""Families of problems by name."""

UNICODE = ({"*": "×", "/": "÷", "-": "−"}, {"*": "·", "/": "÷", "-": "−"}, {"*": "×", "/": "/", "-": "-"})
_OPERATOR = re.compile(r"(?<= )([*/-])(?= )|(?<= )(-)(?=\d)")


@dataclass(frozen=True, slots=True)
class PocketProblem:
    """One problem with its solution.

    `problem` is the question, `answer` the exact answer ("12", "-3" or "5/6"), `solution` the steps without separators,
    `alternatives` the acceptable texts at each position (solution[i] is in alternatives[i]), `key` the underlying
    content, on which alone the split depends.
    """

    family: str
    problem: str
    answer: str
    solution: tuple[str, ...]
    alternatives: tuple[Wordings, ...]
    key: str


def split_of(key: str) -> Split:
    """The split of a content key, by its hash: 80 % train, 10 % validation, 10 % test."""
    bucket = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def word(family: str, content: Content, rng: Random) -> PocketProblem:
    """Choose the wording: the question (a third of those with an exact phrasing use it) and each step's text."""
    if content.exact and rng.random() < 1 / 3:
        question = rng.choice(content.exact)
    else:
        question = rng.choice(content.phrasings)
        if rng.random() < 0.4:
            signs = rng.choice(UNICODE)
            question = _OPERATOR.sub(lambda match: signs[match[0]], question)
    solution = tuple(rng.choice(step) for step in content.steps)
    return PocketProblem(family, question, content.answer, solution, content.steps, content.key)


def problems(
    split: Split, seed: int, size: int | None, families: Iterable[str] | None = None
) -> Iterator[PocketProblem]:
    """`size` problems of a split (endless for None), families drawn uniformly.

    Raises ValueError for a split or family that does not exist.
    """
    if split not in get_args(Split):
        raise ValueError(f"unknown split {split!r}: use one of {', '.join(get_args(Split))}")
    names = tuple(FAMILIES if families is None else families)
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not names:
        raise ValueError(f"unknown families {unknown}: use some of {', '.join(FAMILIES)}")
    return _draw(split, Random(f"{split} {seed}"), size, names)


def _draw(split: Split, rng: Random, size: int | None, names: tuple[str, ...]) -> Iterator[PocketProblem]:
    made = 0
    while size is None or made < size:
        name = rng.choice(names)
        family = FAMILIES[name]
        content = family.build(family.sample(rng))
        while split_of(content.key) != split:
            content = family.build(family.sample(rng))
        made += 1
        yield word(name, content, rng)
