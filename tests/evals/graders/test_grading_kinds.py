r"""The rules of docs/evals.md, "What counts as equal", kind by kind: equal pairs, and pairs that only look so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evals.data.problems import Problem
from evals.graders.grading import Grader
from evals.graders.voting import majority
from tests.evals.graders import answer_forms, answer_pairs

SEVERAL = {"several": True, "type": "Numerical"}

LISTS = [
    ("130,250", "250,130", True),
    ("130,250", r"130 \text{ and } 250", True),
    ("130,250", "130250", False),
    ("3,400", "3400", False),
    ("3,400", "400, 3", True),
    ("3500,6500", "3,500 and 6,500", True),
    ("3500,6500", "6,500, 3,500", True),
    ("3500,6500", "3,500", False),
    ("3,4,5", "345", False),
]


def cases(table: dict[str, list[tuple[str, str]]]) -> list[Any]:
    return [
        pytest.param(*pair, id=f"{kind}: {pair[0]} | {pair[1]}".encode("ascii", "replace").decode())
        for kind, pairs in table.items()
        for pair in pairs
    ]


def problem(answer: str, kind: str = "math", **meta: Any) -> Problem:
    return Problem("p", "?", answer, kind, meta)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=60) as grader:
        yield grader


@pytest.mark.parametrize(("gold", "predicted"), cases(answer_pairs.EQUAL) + cases(answer_forms.EQUAL))
def test_equal(grader: Grader, gold: str, predicted: str) -> None:
    grade = grader.grade(problem(gold), rf"So it is \boxed{{{predicted}}}.")
    assert (grade.correct, grade.reason) == (True, None)
    assert grader.same(problem(gold), predicted, gold)


@pytest.mark.parametrize(("gold", "predicted"), cases(answer_pairs.DIFFERENT) + cases(answer_forms.DIFFERENT))
def test_different(grader: Grader, gold: str, predicted: str) -> None:
    assert grader.grade(problem(gold), rf"So it is \boxed{{{predicted}}}.").correct is False


@pytest.mark.parametrize(("gold", "predicted", "right"), LISTS)
def test_commas_between_several_answers(grader: Grader, gold: str, predicted: str, right: bool) -> None:
    assert grader.grade(problem(gold, "olympiad", **SEVERAL), rf"\boxed{{{predicted}}}").correct is right


def test_a_comma_of_one_answer_groups_thousands(grader: Grader) -> None:
    assert grader.grade(problem("130250"), r"\boxed{130,250}").correct
    assert grader.grade(problem("3,400"), r"\boxed{3400}").correct


@pytest.mark.parametrize(("unit", "said", "right"), [("km", "8 km", True), ("km", "8", True), ("km", "8 cm", False)])
def test_a_unit_that_the_data_state_apart(grader: Grader, unit: str, said: str, right: bool) -> None:
    for written in (unit, f"${unit}$", rf"$\mathrm{{{unit}}}$"):
        assert grader.grade(problem("8", "olympiad", unit=written), rf"\boxed{{{said}}}").correct is right


def test_a_majority_finds_equal_answers_by_the_same_rules(grader: Grader) -> None:
    said = ["12", "1 2", r"12\text{ cm}", "2^4-4", r"2\frac{1}{2}", "2 1/2", "21/2", "12 cm"]
    grades = [grader.grade(problem("7"), rf"\boxed{{{one}}}") for one in said]
    winner, votes = majority(problem("7"), grades, grader)
    assert (winner, [vote.voters for vote in votes]) == (0, [[0, 2, 3, 7], [4, 5], [1], [6]])


CHOICES = ["Iron", "Copper", "Lead and tin", "B or not B", "1/2", "$2.50 ", r"\frac12"]


@pytest.mark.parametrize(
    "said",
    [
        *(
            "B - Copper",
            "B – Copper",
            "Option B",
            "option (b)",
            r"\textit{B}",
            r"\mathbf{B}",
            "**B**",
            "B;",
            "B:",
            "[B]",
        ),
        *("Answer: B", "The answer is B", "Choice B.", r"\text{Option B}", "B Copper", "B; Copper", "**B.** Copper"),
        *(r"\textbf{B) }\text{Copper}", "Copper", r"\underline{B}", r"\boxed{B}", "`B`", "B) because it conducts"),
    ],
)
def test_a_letter_in_usual_forms(grader: Grader, said: str) -> None:
    assert grader.grade(problem("B", "choice", choices=CHOICES), rf"\boxed{{{said}}}").correct


@pytest.mark.parametrize(
    "said",
    [
        "A - Copper",
        "B - Iron",
        "B; C",
        "B - C",
        "B/C",
        "B and C",
        "B, C",
        "BC",
        "not B",
        "Options B",
        "B. and C",
        "A B",
        "B - $2.50",
        r"B - \frac{1}{2}",
    ],
)
def test_what_is_not_the_letter_alone(grader: Grader, said: str) -> None:
    grade = grader.grade(problem("B", "choice", choices=CHOICES), rf"\boxed{{{said}}}")
    assert (grade.correct, grade.reason) == (False, "the answer is not one of the letters") or said == "A - Copper"
    assert grade.correct is False


@pytest.mark.parametrize("at", range(len(CHOICES)))
def test_a_letter_with_its_own_text_whatever_the_text_says(grader: Grader, at: int) -> None:
    for form in ("{}. {}", "({}) {}", "{} - {}", "{}: {}", "{} {}"):
        said = form.format("ABCDEFG"[at], CHOICES[at])
        assert grader.grade(problem("ABCDEFG"[at], "choice", choices=CHOICES), rf"\boxed{{{said}}}").correct, said
