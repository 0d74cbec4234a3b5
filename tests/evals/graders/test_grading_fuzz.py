"""Answers made of the pieces of answers: nothing but verdicts, in bounded time and memory, in either order."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.data.problems import Problem
from evals.graders import letters, notation, pieces, pocket, symbolic, units
from evals.graders.grading import MAX_CHARACTERS, Grader
from evals.graders.rules import Rules
from gsi_node.answer import last_boxed

SECONDS = 5.0
"""Processor time of one comparison; a slow machine needs a fifth of it."""
MEGABYTES = 64
RULES = Rules(symbolic.equal, by_text=False)
PIECES = [
    *("0", "1", "12", "3.5", ".5", "1,234", "1 000", "007", "10^", "1e5", "9^9", "52_8", "10!", "½", "٣", "１", "²"),
    *(
        r"\frac12",
        r"\frac{1}{2}",
        r"\frac{",
        "}{",
        "}",
        "{",
        "(",
        ")",
        "[",
        "]",
        r"\{",
        r"\}",
        "|",
        r"\left(",
        r"\right)",
    ),
    *(
        "x",
        "y",
        "n",
        "i",
        "e",
        "d",
        "E",
        r"\pi",
        r"\alpha",
        "+",
        "-",
        "*",
        "/",
        "^",
        "^{2}",
        "_",
        "_{12}",
        "!",
        "%",
        "°",
    ),
    *("=", "<", r"\le ", r"\ne ", r"\approx", r"\pm", r"\cup", r"\in", ",", ", ", ";", " and ", r"\text{ or }", ":"),
    *(
        r"\text{ cm}",
        r"\text{",
        " km",
        " m",
        " apples",
        " tenths",
        " million",
        "percent",
        "$",
        r"\$",
        "£",
        "'",
        "~",
        r"\,",
    ),
    *(r"\sqrt", r"\sqrt[3]{", r"\sin ", r"\log_2", r"\ln", "sin", r"\binom", r"\lfloor", r"\rfloor", r"\infty", "--"),
    *(r"\sum_{k=1}^{n}", r"\begin{pmatrix}", r"\end{pmatrix}", r"\\", "&", r"\overline{3}", r"0.\overline{3}", "x(t)"),
    *(
        r"\dot{x}",
        r"^{\prime}",
        r"\mathrm{e}",
        r"\mathbf{",
        "**",
        " ",
        "A",
        "yes",
        r"\textbf{(A)}",
        r"\times",
        "x=",
        "<=",
    ),
]
ANSWERS = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join),
    st.text(max_size=60).filter(lambda text: not notation.unprintable(text)),
)


def verdict(gold: str, predicted: str) -> bool | Literal["unreadable"]:
    start = time.thread_time()
    try:
        return RULES.equal(gold, predicted)
    except ValueError:
        return "unreadable"
    finally:
        assert time.thread_time() - start < SECONDS


def plain(text: str) -> bool:
    """Whether an entry has a unit in letters outside a text, which a gold answer asks for and another one may add."""
    parts = pieces.entries(notation.normal(text), False)
    return any(units.split(part).plain or units.split(notation.value(part)).plain for part in parts)


@settings(max_examples=300)
@given(ANSWERS, ANSWERS)
def test_two_answers_get_a_verdict_that_their_order_does_not_change(first: str, second: str) -> None:
    verdicts = {verdict(first, second), verdict(second, first)}
    assert len(verdicts) == 1 or "unreadable" in verdicts or plain(first) or plain(second)


@settings(max_examples=300)
@given(ANSWERS)
def test_an_answer_that_can_be_read_equals_itself_by_what_it_means(text: str) -> None:
    assert verdict(text, text) is not False or not notation.normal(text)


@settings(max_examples=80)
@given(st.sampled_from(PIECES), st.sampled_from(PIECES), st.booleans())
def test_pieces_again_and_again_up_to_the_longest_answer(first: str, second: str, closed: bool) -> None:
    text = ((first + second) * MAX_CHARACTERS)[: MAX_CHARACTERS - 40] + ("" if closed else "= 5}")
    for gold in (r"\sqrt{2} + x", text):
        verdict(gold, text)


@settings(max_examples=200)
@given(st.one_of(ANSWERS, st.text(max_size=300)), st.lists(st.text(max_size=30), min_size=2, max_size=5))
def test_letters_and_fractions_get_a_verdict(text: str, choices: list[str]) -> None:
    equal, reason = letters.equal("B", text, {"choices": choices})
    assert equal is (letters.letter(text, choices) == "B")
    assert (reason is None) or not equal
    assert pocket.equal("1/2", text)[0] in (True, False)
    if equal:
        assert not letters.equal("A", text, {"choices": choices})[0]


WORST = {
    "units": "5" + r"\text{ cm} " * 24 + "= 5",
    "many units": "5" + r"\text{ cm} " * 180,
    "braces": "{" * 1900,
    "closing braces": "}" * 1900,
    "a long list": ", ".join(str(number) for number in range(400)),
    "a long list of roots": ", ".join(rf"\sqrt{{{number}}}" for number in range(180)),
    "a long sum": "+".join(f"x_{{{number}}}" for number in range(200)),
    "a long product": "xyz" * 600,
    "a high power": "(x+y+z)^{400}",
    "a tower": "9^{9^{9^9}}",
    "factorials": "+".join(["9999!"] * 300),
    "thousands": "1 000" * 380,
    "digits": "7" * 1990,
    "fractions": r"\frac11" * 280,
    "decimals": "0." + "3" * 1900,
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_texts_cost_bounded_time_and_memory(name: str) -> None:
    for gold in (r"\sqrt{2} + x", WORST[name] + " + x"):
        bounded(Rules(symbolic.equal).equal, gold, WORST[name])
    tracemalloc.start()
    try:
        bounded(RULES.equal, "5", WORST[name])
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES << 20
    finally:
        tracemalloc.stop()


def bounded(compare: Callable[[str, str], bool], gold: str, predicted: str) -> None:
    start = time.thread_time()
    try:
        assert compare(gold, predicted) in (True, False)
    except ValueError as error:
        assert 0 < len(str(error)) < 2500
    assert time.thread_time() - start < SECONDS


def test_units_again_and_again_are_graded_at_once_and_in_this_process() -> None:
    """The exponential one."""
    said = r"\boxed{5" + r"\text{ cm} " * 24 + "= 5}"
    with Grader(seconds=1.5) as grader:
        grade = grader.grade(Problem("p", "?", "5", "math"), said)
        assert (grade.correct, grade.reason) == (True, None)
    start = time.thread_time()
    assert RULES.equal("5", last_boxed(said) or "")
    assert time.thread_time() - start < 0.5


def test_a_box_is_found_in_a_time_linear_in_the_response() -> None:
    for piece in (r"\boxed{", r"\boxed {", "{", "}", r"\boxed{}", r"\{", "\\", r"\boxed" + " " * 50, r"\boxed{{}"):
        times = []
        for length in (100_000, 800_000):
            text = piece * (length // len(piece))
            start = time.thread_time()
            last_boxed(text)
            times.append(time.thread_time() - start)
        assert times[1] < 40 * times[0] + 0.5, piece
