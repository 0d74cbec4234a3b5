"""The parts of a pocket-math problem that do not depend on its wording, and small text helpers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random

Params = tuple[object, ...]
Wordings = tuple[str, ...]
"""The acceptable texts of one solution step; all of them say the same thing."""


@dataclass(frozen=True, slots=True)
class Content:
    """One problem before its wording is chosen.

    `key` names the underlying content (the numbers and what is asked), `phrasings` are questions in our own words with
    ASCII operators, `exact` are questions in the exact words of a public generator, `steps` the solution.
    """

    key: str
    phrasings: tuple[str, ...]
    steps: tuple[Wordings, ...]
    answer: str
    exact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProblemFamily:
    """A family of problems: `sample` draws parameters, `build` turns parameters into content (a pure function)."""

    sample: Callable[[Random], Params]
    build: Callable[[Params], Content]


def ints(params: Params) -> tuple[int, ...]:
    """The parameters as integers; anything else is a programming error."""
    values = []
    for value in params:
        if not isinstance(value, int):
            raise TypeError(f"expected integer parameters, found {value!r}")
        values.append(value)
    return tuple(values)


def plus(a: int, b: int) -> str:
    """`a + b = … = sum`, tens and units added apart where both have units and one has tens; negatives turned around."""
    if a < 0:
        return f"{a} + {b} = {minus(b, -a)}" if b >= -a else f"{minus(-a, b)}, so {a} + {b} = {a + b}"
    if max(a, b) < 10 or a % 10 == 0 or b % 10 == 0:
        return f"{a} + {b} = {a + b}"
    units = a % 10 + b % 10
    return f"{a} + {b} = {a + b - units} + {units} = {a + b}"


def minus(a: int, b: int) -> str:
    """`a - b = … = difference`, first the tens and then the units taken away; negatives turned around."""
    if a < 0:
        return f"{plus(-a, b)}, so {a} - {b} = {a - b}"
    if a < b:
        return f"{minus(b, a)}, so {a} - {b} = {a - b}"
    if b < 10 or b % 10 == 0:
        return f"{a} - {b} = {a - b}"
    return f"{a} - {b} = {a - b + b % 10} - {b % 10} = {a - b}"


def product(a: int, b: int) -> str:
    """`a * b = … = p`, with partial products written out when a factor has two digits."""
    total = a * b
    small, large = sorted((a, b))
    if small >= 10 and small % 10:
        first, second = large * 10, large * (small - 10)
    elif large >= 10 and large % 10 and small > 1 and small != 10:
        first, second = small * (large // 10 * 10), small * (large % 10)
    else:
        return f"{a} * {b} = {total}"
    return f"{a} * {b} = {first} + {second} = {total}"


def multipliable(a: int, b: int) -> bool:
    """Whether the world writes this product: one factor at most 12, the other at most 99, below 1000."""
    small, large = sorted((a, b))
    return 0 <= small <= 12 and large <= 99 and a * b < 1000


def final(answer: str, *more: str) -> Wordings:
    """The last step; `more` are further wordings with `{}` where the box goes."""
    box = f"\\boxed{{{answer}}}"
    wordings = ("The answer is {}.", "So the answer is {}.", *more)
    return tuple(wording.replace("{}", box) for wording in wordings)


def fraction(value: Fraction) -> str:
    """A fraction in lowest terms, as `3/4`, or `2` when it is whole."""
    return str(value)
