"""VerifierReward against random exact expressions in several notations, the shipped world, and hostile text."""

from __future__ import annotations

import gc
import re
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gsi_node.pocket.world.problems import problems
from tests.rewards.notations import PRIOR, reward

SECONDS = 0.5  # CPU time allowed for one hostile step; a slow machine needs a tenth of it


@contextmanager
def bounded() -> Iterator[None]:
    """At most SECONDS of this thread alone: without other tests' threads, and a collection of their garbage."""
    gc.disable()
    start = time.thread_time()
    try:
        yield
        assert time.thread_time() - start < SECONDS
    finally:
        gc.enable()


@dataclass(frozen=True)
class Written:
    """An expression in three notations, its exact value, and how tightly its outermost operator binds."""

    plain: str
    typeset: str
    latex: str
    value: Fraction
    rank: int = 9


def join(operator: str, left: Written, right: Written) -> Written:
    """left operator right, with brackets only where precedence asks for them."""
    rank = {"+": 1, "-": 1, "*": 2, "/": 2}[operator]
    value = {
        "+": lambda: left.value + right.value,
        "-": lambda: left.value - right.value,
        "*": lambda: left.value * right.value,
        "/": lambda: left.value / right.value,
    }[operator]()
    opens, closes = left.rank < rank, (right.rank <= rank and operator in "-/") or right.rank < rank

    def spell(sign: str, one: str, other: str, pair: tuple[str, str] = ("(", ")")) -> str:
        one = pair[0] + one + pair[1] if opens else one
        other = pair[0] + other + pair[1] if closes else other
        return f"{one} {sign} {other}"

    signs = {"+": ("+", "+"), "-": ("−", "-"), "*": ("×", r"\cdot"), "/": ("÷", r"\div")}[operator]
    latex = spell(signs[1], left.latex, right.latex, (r"\left(", r"\right)"))
    if operator == "/":
        latex, rank_latex = rf"\frac{{{left.latex}}}{{{right.latex}}}", rank
        return Written(
            spell("/", left.plain, right.plain), spell("÷", left.typeset, right.typeset), latex, value, rank_latex
        )
    return Written(
        spell(operator, left.plain, right.plain), spell(signs[0], left.typeset, right.typeset), latex, value, rank
    )


def number(value: int) -> Written:
    return Written(str(value), f"{value:,}", str(value), Fraction(value))


def decimal(cents: int) -> Written:
    written = f"{cents // 100}.{cents % 100:02d}"
    return Written(written, written, written, Fraction(cents, 100))


def power(base: int, exponent: int) -> Written:
    typeset = f"{base}{'²' if exponent == 2 else '³' if exponent == 3 else f'^{exponent}'}"
    return Written(f"{base}**{exponent}", typeset, f"{base}^{{{exponent}}}", Fraction(base) ** exponent)


LEAVES = st.one_of(
    st.integers(0, 20000).map(number),
    st.integers(1, 5000).map(decimal),
    st.builds(power, st.integers(1, 12), st.integers(0, 5)),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(st.sampled_from("+-*/"), inner, inner)
        .filter(lambda made: made[0] != "/" or made[2].value != 0)
        .map(lambda made: join(*made))
    ),
    max_leaves=6,
)


def result(value: Fraction, latex: bool) -> str:
    sign = "-" if value < 0 else ""
    top, bottom = abs(value.numerator), value.denominator
    if bottom == 1:
        return f"{sign}{top}"
    return rf"{sign}\frac{{{top}}}{{{bottom}}}" if latex else f"{sign}{top}/{bottom}"


def statements(made: Written, value: Fraction) -> list[str]:
    return [
        f"{made.plain} = {result(value, latex=False)}",
        f"The total: {made.typeset} = {result(value, latex=False)} apples.",
        f"$${made.latex} = \\boxed{{{result(value, latex=True)}}}$$",
        f"x = {made.plain}\n= {result(value, latex=False)}",
    ]


@given(EXPRESSIONS)
def test_exact_statements_are_accepted_in_every_notation(made: Written) -> None:
    assert [reward(text) for text in statements(made, made.value)][:1] == [1.0]
    assert {reward(text) for text in statements(made, made.value)} == {1.0}


@given(EXPRESSIONS, st.one_of(st.integers(1, 10**6), st.integers(-(10**6), -1), st.fractions(-9, 9).filter(bool)))
def test_a_changed_result_is_rejected_in_every_notation(made: Written, change: int | Fraction) -> None:
    assert {reward(text) for text in statements(made, made.value + change)} <= {0.0, PRIOR}
    assert reward(statements(made, made.value + change)[0]) == 0.0


@given(st.fractions(-1000, 1000), st.integers(0, 6))
def test_approximations_are_roundings_to_the_digits_shown(value: Fraction, digits: int) -> None:
    shown = round(value, digits)
    written = f"{float(shown):.{digits}f}"
    unit = Fraction(1, 10**digits)
    far = f"{float(shown + 2 * unit):.{digits}f}"
    left = f"{value.numerator} / {value.denominator}"
    assert reward(f"{left} ≈ {written}") == 1.0
    assert reward(f"{left} = {written}") == (1.0 if value == shown else 0.0)
    if digits:
        assert reward(rf"{left} \approx {far}") == 0.0


HOSTILE = {
    "tower": "9^9^9 = 1",
    "tall tower": "9" + "^9" * 900 + " = 1",
    "large exponent": "2^1000000000 = 1",
    "large negative exponent": "2^-99999999999 = 1",
    "a megabyte of brackets": "(" * 10**6,
    "closing brackets": ")" * 10**6 + " = 1",
    "digits": "9" * 10**6 + " = 1",
    "some digits": "1 = " + "9" * 1500,
    "control characters": "".join(map(chr, range(32))) * 60,
    "nul": "\x00" * 4096,
    "lone surrogate": "1 + 1 \ud800= 3",
    "signs": "=" * 10**6,
    "fractions": r"\frac" * 400,
    "texts": r"\text{" * 300,
    "bold": "**a " * 500,
    "annotations": "<<" * 1000,
    "words": "a b " * 500 + "= 1",
    "long units": "5 aa bb cc dd " * 140 + "= 1",
    "full-width digits": "３ + ４ = ８",
    "superscripts": "2⁵ = 1",
    "other digits": "٣ + ٤ = ٨",
    "lines": "\n" * 2000 + "= 1",
    "dots": "." * 2000,
    "pictures": "🎉" * 2000,
}
SLOWEST = {
    "chain": "1=" * 1000,
    "brackets": "(" * 1000 + "1" + ")" * 1000 + " = 1",
    "minus": "-" * 1900 + "1 = 1",
    "percent": "1" + "%" * 1900 + " = 1",
    "squares": "1" + "^2" * 900 + " = 1",
    "harmonic": "+".join(f"1/{n}" for n in range(2, 300)) + " = 1",
    "nested fractions": r"\frac{1}{" * 200 + "2" + "}" * 200 + " = 1",
    "wide numbers": "=".join(["(2/3)^300*(3/2)^300*(5/7)^150"] * 64),
    "mixed numbers": "1 1/2 " * 330 + "= 3",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_gets_the_prior_in_bounded_time(name: str) -> None:
    with bounded():
        assert reward(HOSTILE[name]) == PRIOR


@pytest.mark.parametrize("name", SLOWEST)
def test_the_most_expensive_texts_take_bounded_time(name: str) -> None:
    with bounded():
        assert 0.0 <= reward(SLOWEST[name]) <= 1.0


FRAGMENTS = [*"1 23 0.5 = < + - * / ^ ( ) { } % , . $ x of".split(), " ", "\n"]
COMMANDS = [*r"\frac \text{ \left \boxed \\ ** << >> apples ≈ é ² ! | _".split(), "\x00"]
HALF = [
    *"-= += *= /= ^= **= //= %= := =< => <=> << >> ~= != ≠ ≤ == [ ] ** … ... : ?".split(),
    *r"\left( \right) \frac{1} \frac12".split(),
    *"٣ ３ 𝟙 ½ − × ÷ # • I a total is so and per half times percent 10^999999999 9^9^9 2^-99999 1,234 -1 1e5".split(),
    *("divided by", "3 1/2", "9" * 200, "\t", "\u200b", "\ud800", "  "),
]
TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(st.sampled_from(FRAGMENTS + COMMANDS), max_size=60).map("".join),
    st.lists(st.sampled_from(FRAGMENTS + COMMANDS + HALF), max_size=300).map("".join),
    st.tuples(st.sampled_from(FRAGMENTS + COMMANDS + HALF), st.sampled_from(HALF), st.integers(1, 2000)).map(
        lambda made: (made[0] + made[1]) * made[2] + " = 1"
    ),
)


@settings(max_examples=400)
@example("total -= 5")
@given(TEXTS)
def test_any_text_gets_a_number_in_bounded_time(text: str) -> None:
    with bounded():
        assert reward(text) in (0.0, PRIOR, 1.0)


@pytest.mark.parametrize("text", [*HOSTILE.values(), *SLOWEST.values()], ids=[*HOSTILE, *SLOWEST])
def test_any_text_is_judged_in_bounded_memory(text: str) -> None:
    tracemalloc.start()
    try:
        reward(text)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_right_solutions_of_the_shipped_world_are_never_called_false() -> None:
    steps = [step for problem in problems("test", seed=1, size=600) for step in problem.solution]
    rewards = [reward(step) for step in steps]
    assert 0.0 not in rewards
    assert rewards.count(1.0) > len(rewards) / 2


def test_a_slip_in_the_last_number_of_an_equality_of_the_shipped_world_is_called_false() -> None:
    steps = [step for problem in problems("test", seed=2, size=600) for step in problem.solution]
    sums = [match for step in steps if (match := re.fullmatch(r"([-+*/()0-9 ]+ = )(\d+)(\.?)", step))]
    assert len(sums) > 100
    for match in sums:
        for slip in (-1, 1, 10):
            assert reward(f"{match[1]}{int(match[2]) + slip}{match[3]}") == 0.0
