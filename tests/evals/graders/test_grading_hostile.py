"""Hostile answers: each costs at most the limit and is wrong, with a reason."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from evals.data.problems import Problem
from evals.graders import symbolic
from evals.graders.grading import Grader

LIMIT = 1.5


def problem(answer: str) -> Problem:
    return Problem("p", "?", answer, "math")


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=LIMIT) as grader:
        yield grader


HOSTILE = [
    "9^{9^{9^9}}",
    r"10^{10^{10}} + \frac{1}{3}",
    r"\binom{10^{9}}{5 \cdot 10^{8}}",
    "(10^8)!",
    r"\sum_{k=1}^{10^{12}} \frac{1}{k}",
    r"\int_0^1 x^x \sin(x^x) dx",
    r"\frac{1}{" * 150 + "2" + "}" * 150,
    "(" * 900 + "x" + ")" * 900,
    "x" + "^x" * 500,
    "+".join(f"x_{{{i}}}" for i in range(200)),
    "\x00\x07\x1b[2J",
    "\ud800",
    "٣",
    "𝟙𝟠",
    "\u202e81",
    "1" * 1999,
    r"\text{\text{\text{",
    "}{",
    r"\\\\\\",
    "$$$$",
    "__import__('os').system('true')",
]


@pytest.mark.parametrize("said", HOSTILE, ids=lambda said: repr(said)[:20])
def test_hostile_answers_cost_at_most_the_limit(grader: Grader, said: str) -> None:
    start = time.monotonic()
    grade = grader.grade(problem(r"\sqrt{2}"), rf"So it is \boxed{{{said}}}.")
    assert not grade.correct
    assert time.monotonic() - start < LIMIT + 20  # a worker may have to be started first, on a busy machine


TOO_LARGE = "it holds a number of more than 60,000 digits"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("9^{9^{9^9}} + x", TOO_LARGE),
        ("x + 2^{300000}", TOO_LARGE),
        (r"x + 2^{-300000.5}", TOO_LARGE),
        ("x + (10^8)!", TOO_LARGE),
        (r"x + \binom{10^9}{5 \cdot 10^8}", TOO_LARGE),
        (r"e^{e^{e^{10}}} + x", TOO_LARGE),
        (r"\sinh(\sinh(10^{600})) + x", "the argument of sinh is too large"),
        (r"\sum_{k=1}^{10^{12}} \frac{1}{k}", "it holds a sum of more than 2000 terms"),
        (r"x + \sum_{a=1}^{2000} \sum_{b=1}^{2000} ab", "it takes too many steps to compute"),
        ("+".join(["9999!"] * 300), "it takes too many steps to compute"),
        ("(" * 900 + "x" + ")" * 900, "the answer cannot be read as mathematics: it is nested too deeply"),
        (r"\frac{1}{0}", "it has no value that could be compared"),
        (r"\int_0^1 x dx", r"the answer cannot be read as mathematics: '\int' cannot be read as mathematics"),
    ],
)
def test_what_would_grow_without_bound_is_stopped_with_a_reason(said: str, reason: str) -> None:
    """In this process: no limit of a worker is needed."""
    start = time.process_time()
    with pytest.raises(ValueError, match=re.escape(reason)):
        symbolic.equal("x", said, None)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("text", ["{", "}", r"\boxed{", r"\boxed{{", "{}", r"\boxed{}", "\\", r"\}"])
def test_a_megabyte_of_braces(grader: Grader, text: str) -> None:
    start = time.process_time()
    grade = grader.grade(problem("2"), text * (1_000_000 // len(text)))
    assert (grade.correct, grade.reason is None) == (False, False)
    assert time.process_time() - start < 10


def test_a_long_answer_is_cut(grader: Grader) -> None:
    grade = grader.grade(problem("2"), r"\boxed{" + "2" * 5000 + "}")
    assert grade.reason == "an answer of 5000 characters is too long"
    assert len(grade.predicted or "") == 2001
