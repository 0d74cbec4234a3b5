"""Hostile answers: each costs at most the limit and is wrong, with a reason."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from evals.grading import Grader
from evals.problems import Problem

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


def test_a_tower_of_powers_is_stopped_with_a_reason(grader: Grader) -> None:
    grade = grader.grade(problem("x"), r"\boxed{9^{9^{9^9}} + x}")
    assert (grade.correct, grade.predicted) == (None, "9^{9^{9^9}} + x")
    assert grade.reason in (
        "grading took longer than 1.5 s of processor time",
        "the answer takes too much memory",
    )


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
