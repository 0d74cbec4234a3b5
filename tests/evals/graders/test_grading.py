r"""The grader: every trap that the answers of language models set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evals.data.problems import Problem
from evals.graders.grading import Grader
from gsi_node.errors import ConfigError


def problem(answer: str, kind: str = "math", **meta: Any) -> Problem:
    return Problem("p", "?", answer, kind, meta)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=60) as grader:
        yield grader


EQUAL = [
    ("18", "18"),
    ("18", r"\$18"),
    ("18", r"18\text{ eggs}"),
    ("18", "18 dollars"),
    ("18", "x = 18"),
    ("18", "9 * 2 = 18"),
    ("18", "18.0"),
    ("58,500", "58500"),
    (r"11,\! 111,\! 111,\! 100", "11111111100"),
    (r"10,\!080", "10,080"),
    ("1450000", "1.45 million"),
    (r"\frac43", r"\dfrac{4}{3}"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}^\circ"),
    (r"1\frac{4}{5}", r"\frac{9}{5}"),
    (r"1\frac{4}{5}", "1.8"),
    (r"\frac{1}{3}", "0.333333"),
    (".35625", "0.35625"),
    ("4.5e33", r"4.5 \times 10^{33}"),
    ("1e-8", r"10^{-8}"),
    ("2.7778e-6", r"2.7778\cdot 10^{-6}"),
    (r"90^\circ", "90"),
    (r"864 \mbox{ inches}^2", "864"),
    (r"15\mbox{ cm}^2", r"15 \mathrm{~cm}^{2}"),
    ("25", r"25\%"),
    (r"62.5\%", "62.5"),
    (r"62.5\%", r"\frac{5}{8}"),
    (r"\text{Evelyn}", "evelyn"),
    (r"\text{(C)}", "C"),
    (r"\text{(C)}", r"\textbf{(C)}"),
    ("52_8", "52_{8}"),
    ("3, 5, 7", r"\{7, 3, 5\}"),
    ("1,-2", "x = -2 or x = 1"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)"),
    (r"\left(\frac{3}{5},\frac{8}{3}\right]", "(0.6, 8/3]"),
    (r"(2,12) \cup (12,102)", r"(12, 102)\cup(2, 12)"),
    (r"x \in [-2,7]", "[-2, 7]"),
    ("11\\sqrt2", r"\sqrt{242}"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    ("6 - 5i", "-5i + 6"),
    (r"x^3+3x-6", "3x - 6 + x^3"),
    ("(a+5)(b+2)", "ab + 2a + 5b + 10"),
    ("5x - 7y + 11z + 4 = 0", "-5x + 7y - 11z - 4 = 0"),
    ("y = 2x + 3", "2x+3"),
    ("y = 2x + 3", "y - 2x - 3 = 0"),
    ("7", "x + y = 7"),
    (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\begin{bmatrix} 0.2 \\ -3.6 \end{bmatrix}"),
    (r"288 \pi", r"\pi \cdot 288"),
    (r"12\pi", r"12\pi \text{ cm}^2"),
]

DIFFERENT = [
    ("18", "19"),
    ("18", "18, 19"),
    ("18", r"18 \text{ or } 19"),
    ("18", "18 or 19"),
    ("18", "18 million"),
    ("18", "18 dozen"),
    ("1450000", "1450001"),
    ("1450000", "1450000.5"),
    ("1e-8", "2e-8"),
    (r"10^{-20}", r"2 \cdot 10^{-20}"),
    (r"\sqrt{2} \cdot 10^{-20}", r"\sqrt{3} \cdot 10^{-20}"),
    ("3.61e-10", "3.62e-10"),
    (r"\frac{1}{3}", "0.333"),
    ("4.5e33", "4.5e32"),
    ("0.25", "25"),
    (r"62.5\%", r"0.625\%"),
    (r"\text{Evelyn}", "Angela"),
    ("52_8", "52_9"),
    ("52_8", "52"),
    ("3, 5, 7", "3, 5"),
    ("3, 5, 7", "3, 5, 5"),
    ("(3, 4]", "(3, 4)"),
    ("(3, 4]", "(4, 3]"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(\frac{\pi}{2}, 3)"),
    (r"(2,12) \cup (12,102)", r"(2,102)"),
    (r"\sqrt{51}", r"\sqrt{52}"),
    ("x^3+3x-6", "x^3+3x+6"),
    ("6 - 5i", "6 + 5i"),
    ("2k+2", "2n+2"),
    (r"\pi", "3.14"),
    ("0", "5x - 7y + 11z + 4 = 0"),
    ("5x - 7y + 11z + 4 = 0", "0"),
    ("x^2 + 1", "x^2 + 1 = 0"),
    ("x=5", "y=5"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
]


@pytest.mark.parametrize(("gold", "predicted"), EQUAL)
def test_equal_answers_in_other_words(grader: Grader, gold: str, predicted: str) -> None:
    assert grader.grade(problem(gold), rf"So it is \boxed{{{predicted}}}.").correct
    assert grader.same(problem(gold), predicted, gold)


@pytest.mark.parametrize(("gold", "predicted"), DIFFERENT)
def test_different_answers(grader: Grader, gold: str, predicted: str) -> None:
    grade = grader.grade(problem(gold), rf"So it is \boxed{{{predicted}}}.")
    assert (grade.correct, grade.predicted) == (False, predicted)
    assert not grader.same(problem(gold), predicted, gold)


def test_only_the_last_complete_box_counts(grader: Grader) -> None:
    assert grader.grade(problem("2"), r"\boxed{1}, no, \boxed{2}").correct
    assert not grader.grade(problem("1"), r"\boxed{1}, no, \boxed{2}").correct
    assert grader.grade(problem("1"), r"\boxed{1} and then \boxed{2").correct
    assert grader.grade(problem(r"\frac{1}{2}"), r"\boxed{\frac{1}{2}}").predicted == r"\frac{1}{2}"


def test_no_box_no_answer(grader: Grader) -> None:
    grade = grader.grade(problem("2"), "The answer is 2.")
    assert (grade.correct, grade.predicted, grade.reason) == (False, None, r"no complete \boxed{…} in the response")
    assert grader.grade(problem("2"), r"\boxed{ }").reason == "the box is empty"


def test_minerva_s_numbers_are_rounded(grader: Grader) -> None:
    rounded = problem("4.5e33", rel_tol=1e-4)
    assert grader.grade(rounded, r"\boxed{4.5003 \times 10^{33}}").correct
    assert not grader.grade(rounded, r"\boxed{4.51e33}").correct
    assert not grader.grade(problem("41585", rel_tol=1e-4), r"\boxed{41586}").correct  # whole numbers are exact


@pytest.mark.parametrize(
    ("gold", "predicted", "meta"),
    [
        ("4.2", "4.2", {"unit": "%", "abs_tol": 0.1}),
        ("4.2", r"4.3\%", {"unit": "%", "abs_tol": 0.1}),
        ("4.2", "0.042", {"unit": "%"}),
        ("4.2", "0.0425", {"unit": "%", "abs_tol": 0.1}),
        ("$166$", r"166 \text{ cm}^2", {"unit": "$cm^2$"}),
        ("1,3,5", "5, 3, 1", {"several": True, "type": "Numerical"}),
        ("$221,$8$", "8 and 221", {"several": True, "type": "Numerical"}),
        ("$-1$,$2$,$-2$", r"-1, \pm 2", {"several": True, "type": "Numerical"}),
        ("2500,7500", r"\{7500, 2500\}", {"several": True, "type": "Numerical"}),
        ("$(1,8,19), (2,7,13), (4,5,7)$", "(4,5,7), (1,8,19), (2,7,13)", {"several": True, "type": "Tuple"}),
        ("$f(x)=x$,$f(x)=2-x$", "f(x) = 2 - x and f(x) = x", {"several": True, "type": "Expression"}),
        (r"$90^{\circ}$,$60^{\circ}$", "60, 90", {"several": True, "type": "Numerical"}),
        (r"$m_{\max }=n^{2}-n-1$", "n^2 - n - 1", {"type": "Expression"}),
        (r"$\lceil n / 2\rceil+1$", r"1 + \left\lceil \frac{n}{2} \right\rceil", {"type": "Expression"}),
        (r"$(-\infty, 0) \cup\{1\}$.", r"\{1\} \cup (-\infty, 0)", {"type": "Interval"}),
        (r"$k \geqslant 2$", r"k \ge 2", {"type": "Expression"}),
    ],
)
def test_olympiadbench_units_tolerances_and_several_answers(
    grader: Grader, gold: str, predicted: str, meta: dict[str, Any]
) -> None:
    assert grader.grade(problem(gold, "olympiad", **meta), rf"\boxed{{{predicted}}}").correct


@pytest.mark.parametrize(
    ("gold", "predicted", "meta"),
    [
        ("4.2", r"4.31\%", {"unit": "%", "abs_tol": 0.1}),
        ("4.2", "42", {"unit": "%"}),
        ("4.2", r"\frac{1}{54}", {"unit": "%", "abs_tol": 0.1}),
        ("1,3,5", "1, 3", {"several": True, "type": "Numerical"}),
        ("1,3,5", "1, 3, 3", {"several": True, "type": "Numerical"}),
        ("$(1,8,19), (2,7,13)$", "(1,8,19), (2,13,7)", {"several": True, "type": "Tuple"}),
        ("(312,123,231)", "(123,312,231)", {"several": False, "type": "Tuple"}),
    ],
)
def test_olympiadbench_wrong_answers(grader: Grader, gold: str, predicted: str, meta: dict[str, Any]) -> None:
    assert not grader.grade(problem(gold, "olympiad", **meta), rf"\boxed{{{predicted}}}").correct


@pytest.mark.parametrize("said", ["C", "c", "(C)", "C.", r"\text{C}", r"\textbf{(C)}", "C. Cyclic AMP", "cyclic AMP"])
def test_letters_of_multiple_choice(grader: Grader, said: str) -> None:
    question = problem("C", "choice", choices=["Prostaglandins", "Calmodulin", "Cyclic AMP", "AMP"])
    assert grader.grade(question, rf"\boxed{{{said}}}").correct


@pytest.mark.parametrize("said", ["A and C", "A, C", "AC", "E", "AMP or C", "2", r"\frac{C}{1}"])
def test_what_names_no_single_letter(grader: Grader, said: str) -> None:
    question = problem("C", "choice", choices=["Prostaglandins", "Calmodulin", "Cyclic AMP", "AMP"])
    grade = grader.grade(question, rf"\boxed{{{said}}}")
    assert (grade.correct, grade.reason) == (False, "the answer is not one of the letters")
    assert grader.grade(question, r"\boxed{D}").reason is None


def test_pocket_is_exact(grader: Grader) -> None:
    exact = problem("5/6", "exact")
    assert grader.grade(exact, r"\boxed{10/12}").correct
    assert not grader.grade(exact, r"\boxed{0.8333333}").correct
    assert grader.same(exact, "1/2", "2/4")
    assert not grader.same(exact, "1/2", "half")
    assert not grader.same(exact, "0/0", "1/2")


def test_reasoning_gym_grades_itself(grader: Grader) -> None:
    one = problem("-4", "rg", generator="chain_sum", config={"size": 3, "seed": 1}, index=0)
    assert grader.grade(one, r"\boxed{-4}").correct
    assert not grader.grade(one, r"\boxed{4}").correct
    assert grader.same(one, "4.0", "4")


def test_many_threads_share_one_grader() -> None:
    wrong: list[str] = []
    with Grader(workers=2, seconds=30) as grader:

        def work(number: int) -> None:
            for k in range(3):
                if not grader.grade(
                    problem(rf"\sqrt{{{number}}} + x"), rf"\boxed{{x + \sqrt{{{number}}} + {k} - {k}}}"
                ).correct:
                    wrong.append(f"{number} {k}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="at least one worker"):
        Grader(workers=0)
    with pytest.raises(ConfigError, match="kind 'essay'"):
        Grader().grade(problem("2", "essay"), r"\boxed{2}")
