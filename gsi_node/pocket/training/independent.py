"""Problems from generators that are not ours: four of reasoning-gym's, in their exact phrasing, solved in our steps.

The package itself does not need reasoning-gym; `SETTINGS` are the sizes for which our world covers what they ask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gsi_node.pocket.world import algebra, arithmetic, divisibility, lowest_terms
from gsi_node.pocket.world.content import Content
from gsi_node.pocket.world.problems import PocketProblem

SETTINGS: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 2},
    "gcd": {"min_numbers": 2, "max_numbers": 2, "min_value": 1, "max_value": 60},
    "simple_equations": {
        "min_terms": 2,
        "max_terms": 2,
        "min_value": 1,
        "max_value": 12,
        "operators": ("+", "-", "*"),
        "operators_weights": [0.5, 0.5, 0.0],
    },
    "fraction_simplification": {
        "min_value": 2,
        "max_value": 12,
        "min_factor": 2,
        "max_factor": 9,
        "styles": ("plain",),
    },
}
"""Settings of `reasoning_gym.create_dataset(name, seed=…, size=…, **settings)` by generator."""


def _pattern(template: str, *slots: str) -> re.Pattern[str]:
    """A template with `{}` slots as a pattern; a final line break is optional."""
    parts = [re.escape(part) for part in template.split("{}")]
    return re.compile("".join(part + slot for part, slot in zip(parts, (*slots, ""), strict=True)) + r"\n?")


def _chain(groups: tuple[str, ...]) -> Content:
    tokens = groups[0].split(" ")
    return arithmetic.build_chain(tuple(token if token in "+-" else int(token) for token in tokens))


def _gcd(groups: tuple[str, ...]) -> Content:
    return divisibility.build_gcd((int(groups[0]), int(groups[1])))


def _lowest(groups: tuple[str, ...]) -> Content:
    return lowest_terms.build_reduce((int(groups[0]), int(groups[1])))


def _linear(groups: tuple[str, ...]) -> Content | None:
    letter, before, sign_before, times, unknown, sign_after, after, right = groups
    if letter != unknown or bool(before) == bool(after) or (before and sign_before == "+"):
        return None
    a, b, value = int(times or 1), int(before or after), int(right)
    form = "b-ax" if before else f"ax{sign_after}b"
    shifted = {"ax+b": value - b, "ax-b": value + b, "b-ax": b - value}[form]
    if a == 0 or shifted % a:
        return None
    return algebra.build_linear((form, letter, a, b, shifted // a))


_EQUATION = r"(?:(\d+) ([+-]) )?(?:(\d+)\*)?([a-z])(?: ([+-]) (\d+))? = (-?\d+)"
_READERS: tuple[tuple[str, re.Pattern[str], Callable[[tuple[str, ...]], Content | None]], ...] = (
    ("chain", _pattern(arithmetic.CHAIN_EXACT, r"(\d+(?: [+-] \d+)+)"), _chain),
    ("gcd", _pattern(divisibility.GCD_EXACT, r"(\d+), (\d+)"), _gcd),
    ("lowest_terms", _pattern(lowest_terms.REDUCE_EXACT, r"(\d+)/(\d+)"), _lowest),
    *(("linear", _pattern(text, "([a-z])", _EQUATION), _linear) for text in algebra.LINEAR_EXACT),
)


def recognise(question: str) -> PocketProblem | None:
    """The problem a generator asks, with our solution to it; None for a question of another kind."""
    for family, pattern, read in _READERS:
        match = pattern.fullmatch(question)
        content = read(match.groups()) if match else None
        if content is not None:
            solution = tuple(step[0] for step in content.steps)
            return PocketProblem(family, question, content.answer, solution, content.steps, content.key)
    return None
