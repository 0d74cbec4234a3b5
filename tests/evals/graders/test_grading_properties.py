"""Laws of the grader: a number equals itself in every spelling, different integers never do, order does not matter."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evals.data.problems import Problem
from evals.graders import notation, numerals, pieces, units
from evals.graders.grading import Grader
from evals.graders.rules import NeedsSymbolic, Rules
from evals.graders.worker import undecided_is_false

INTEGERS = st.integers(-(10**15), 10**15)
DECIMALS = st.tuples(st.integers(-(10**6), 10**6), st.integers(1, 12))  # digits and how many stand behind the point
RULES = Rules(undecided_is_false, by_text=False)
GRADER = Grader()  # its process ends with this one
TEXT = st.text(st.sampled_from("0123456789+-*/^_{}()[],.=\\ $%abxπ∞") | st.characters(), max_size=40)


def spellings(number: int) -> list[str]:
    """One integer in the ways in which answers write it."""
    size, sign = str(abs(number)), "-" if number < 0 else ""
    grouped = f"{abs(number):,}"
    return [
        sign + size,
        f"{sign}{size}.0",
        sign + grouped,
        sign + grouped.replace(",", r",\!"),
        sign + grouped.replace(",", "{,}"),
        rf"\$ {sign}{size}",
        rf"{sign}{size}^\circ",
        rf"x = {sign}{size}",
        rf"{sign}\frac{{{2 * abs(number)}}}{{2}}",
        f"{sign}{3 * abs(number)}/3",
        rf"{sign}{size} \text{{ apples}}",
        rf"{sign}{size} \mbox{{ km}}",
        f" $ {sign}{size}. $ ",
    ]


@given(INTEGERS)
def test_an_integer_equals_itself_in_every_spelling(number: int) -> None:
    for text in spellings(number):
        assert RULES.equal(str(number), text), text
        assert RULES.equal(text, str(number)), text


@given(INTEGERS)
def test_a_unit_in_plain_letters_is_asked_for_and_may_be_added(number: int) -> None:
    assert RULES.equal(str(number), f"{number} km")
    assert not RULES.equal(f"{number} km", str(number))
    assert RULES.equal(f"{number} km", rf"{number}\text{{ km}}")


@given(INTEGERS, INTEGERS, st.integers(0, 12), st.sampled_from([None, Fraction(1, 10**4)]))
def test_different_integers_are_never_equal(first: int, second: int, spelling: int, rel_tol: Fraction | None) -> None:
    if rel_tol is not None and spelling == 1:
        return  # "3.0" is a decimal, and a set whose decimals are rounded says so
    rules = Rules(undecided_is_false, rel_tol=rel_tol)
    assert rules.equal(str(first), spellings(second)[spelling]) == (first == second)
    assert not rules.equal(str(first), spellings(first + 1)[spelling])


@given(DECIMALS, st.integers(-30, 30))
def test_a_decimal_equals_itself_in_every_notation(decimal: tuple[int, int], exponent: int) -> None:
    digits, places = decimal
    value = Fraction(digits, 10**places)
    plain = f"{'-' if digits < 0 else ''}{abs(digits) // 10**places}.{abs(digits) % 10**places:0{places}d}"
    for text in (plain, plain + "0", rf"{plain} \times 10^{{0}}", rf"\frac{{{digits}}}{{{10**places}}}"):
        assert RULES.equal(plain, text), text
    scientific = [f"{digits}e{exponent}", rf"{digits} \times 10^{{{exponent}}}", rf"{digits}\cdot 10^{{{exponent}}}"]
    for text in scientific:
        found = numerals.read(text)
        assert found is not None
        assert found.value == digits * Fraction(10) ** exponent
    assert value == 0 or not RULES.equal(plain, rf"{plain} \times 10^{{1}}")


@given(st.integers(1, 10**9), st.integers(-300, 300))
def test_tolerance_is_relative_for_small_numbers(digits: int, exponent: int) -> None:
    """1e-8 is not 2e-8: no number is equal to its double, however small."""
    assert not RULES.equal(f"{digits}e{exponent}", f"{2 * digits}e{exponent}")


@given(TEXT, TEXT)
def test_comparing_is_symmetric_but_for_units_and_never_raises(first: str, second: str) -> None:
    """A unit in letters outside \\text must be written, if it is the gold answer's."""
    plain = any(
        units.split(part).plain for text in (first, second) for part in pieces.entries(notation.normal(text), False)
    )
    assert plain or RULES.equal(first, second) == RULES.equal(second, first)


@given(TEXT)
def test_any_text_that_says_something_equals_itself(text: str) -> None:
    assert Rules(undecided_is_false).equal(text, text) == bool(notation.normal(text))


def asks(gold: str, predicted: str) -> Any:
    def symbolic(one: str, other: str, rel_tol: object) -> bool:
        raise NeedsSymbolic

    try:
        return Rules(symbolic).equal(gold, predicted)
    except NeedsSymbolic:
        return "asks"


@given(INTEGERS, INTEGERS)
def test_numbers_need_no_process(first: int, second: int) -> None:
    for text in spellings(second):
        assert asks(str(first), text) is (first == second)


@given(st.text(max_size=200), st.sampled_from(["exact", "choice"]))
def test_grading_never_raises(text: str, kind: str) -> None:
    problem = Problem("p", "?", "B" if kind == "choice" else "1/2", kind, {})
    grade = GRADER.grade(problem, text + r"\boxed{" + text + "}")
    assert grade.correct in (True, False)
    assert not GRADER.same(problem, text, "B" if kind == "exact" else "1/2")
