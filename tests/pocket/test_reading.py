"""What is asked in pocket math's own words is recognised, however it is typed, and nothing else is."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from gsi_node.pocket.world.check import normal
from gsi_node.pocket.world.problems import FAMILIES, problems
from gsi_node.pocket.world.reading import recognised
from tests.pocket.outside import ANYTHING, near_misses


@pytest.mark.parametrize("family", FAMILIES)
def test_every_problem_of_the_world_is_read_as_itself(family: str) -> None:
    for split in ("train", "validation", "test"):
        for problem in problems(split, 11, 150, [family]):
            assert recognised(problem.problem) == normal(problem.problem)


def test_two_hundred_prompts_outside_it_are_refused() -> None:
    known = [text for text in (*ANYTHING[:100], *near_misses(100)) if recognised(text) is not None]
    assert len(ANYTHING) >= 100
    assert known == []


def typed(text: str, rng: Random) -> str:
    """The same question as people type it."""
    text = rng.choice((str.lower, str.upper, str))(text)
    text = text.replace(" + ", rng.choice(("+", " +", "  +  "))).replace(" * ", rng.choice(("*", " × ", "·")))
    return rng.choice(("", " ", "\n")) + text.rstrip(".?") + rng.choice(("", "?", " .", "  "))


def test_case_spaces_and_signs_do_not_matter() -> None:
    rng = Random(3)
    for problem in problems("test", 5, 600):
        asked = normal(problem.problem)
        assert recognised(typed(asked, rng)) == asked


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("3+4", "What is 3 + 4?"),
        ("What's 12*(7+5)=", "What is 12 * (7 + 5)?"),
        ("3x+7=25", "Solve 3x + 7 = 25."),
        ("20 - 3 y = 5", None),
        ("x - 7 = 1", "Solve x - 7 = 1."),
        ("2/3+1/4", "What is 2/3 + 1/4?"),
        ("what is 10 % of 200", "What is 10% of 200?"),
        ("7 * 8", None),  # one product alone is not of the world, and the models do not know it
        ("5 + 45", None),
        ("x" * 5000, None),
        ("9" * 5000 + " + 1", None),
        ("(" * 140 + "3 + 4" + ")" * 140, None),
    ],
)
def test_what_is_typed_in_short(asked: str, read: str | None) -> None:
    assert recognised(asked) == read


def test_the_numbers_that_are_known_are_those_that_are_drawn() -> None:
    """Every pair of numbers of up to three digits in one wording: recognised exactly where the sampler draws it."""
    rng = Random(0)
    drawn = {FAMILIES["remainder"].sample(rng) for _ in range(60_000)}
    pairs = itertools.product(range(200), range(20))
    asked = {pair for pair in pairs if recognised("What remains when {} is divided by {}?".format(*pair))}
    assert asked == drawn
    drawn = {FAMILIES["gcd"].sample(rng) for _ in range(200_000)}
    assert {
        pair
        for pair in itertools.product(range(70), range(70))
        if recognised("Find the greatest common divisor of {} and {}.".format(*pair))
    } == drawn
    drawn = {FAMILIES["percent"].sample(rng) for _ in range(60_000)}
    assert {
        pair for pair in itertools.product(range(101), range(420)) if recognised("Find {}% of {}.".format(*pair))
    } == drawn
