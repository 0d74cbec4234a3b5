"""Sums of fractions, and fractions in lowest terms."""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm
from random import Random

from gsi_node.pocket.world.content import Content, Params, ProblemFamily, Wordings, final, fraction, ints, plus

REDUCE_EXACT = "Simplify the fraction {} to its lowest terms. Give only the simplified fraction as your final answer."


def sample_sum(rng: Random) -> Params:
    """Two proper fractions with denominators 2 to 10 and a common denominator of at most 30."""
    while True:
        b, d = rng.randint(2, 10), rng.randint(2, 10)
        if lcm(b, d) <= 30:
            return rng.randint(1, b - 1), b, rng.randint(1, d - 1), d


def _lowest(top: int, bottom: int) -> list[Wordings]:
    common = gcd(top, bottom)
    if common == 1:
        return []
    return [(f"Divide by {common}: {top}/{bottom} = {fraction(Fraction(top, bottom))}.",)]


def build_sum(params: Params) -> Content:
    """Parameters: a, b, c, d for a/b + c/d."""
    a, b, c, d = ints(params)
    text = f"{a}/{b} + {c}/{d}"
    common = lcm(b, d)
    steps: list[Wordings] = []
    if b != d:
        line = f"common denominator of {b} and {d} is {common}."
        steps.append((f"The {line}", f"A {line}"))
    top, other = a * common // b, c * common // d
    if b != common:
        steps.append((f"{a}/{b} = {top}/{common}.",))
    if d != common:
        steps.append((f"{c}/{d} = {other}/{common}.",))
    steps.append((f"{plus(top, other)}, which makes {top + other}/{common}.",))
    steps += _lowest(top + other, common)
    answer = fraction(Fraction(a, b) + Fraction(c, d))
    steps.append(final(answer))
    asks = (
        f"Compute {text}.",
        f"What is {text}?",
        f"Add {a}/{b} and {c}/{d}.",
        f"What is the sum of {a}/{b} and {c}/{d}?",
        f"Compute {text} and give the answer in lowest terms.",
    )
    return Content(f"fractions {text}", asks, tuple(steps), answer)


def sample_reduce(rng: Random) -> Params:
    """A fraction in lowest terms, 2 to 12 over and under, times a factor 2 to 9."""
    while True:
        top, bottom = sorted((rng.randint(2, 12), rng.randint(2, 12)))
        if gcd(top, bottom) == 1:
            factor = rng.randint(2, 9)
            return top * factor, bottom * factor


def build_reduce(params: Params) -> Content:
    """Parameters: numerator and denominator."""
    top, bottom = ints(params)
    common = gcd(top, bottom)
    answer = fraction(Fraction(top, bottom))
    line = f"{top} and {bottom} can be divided by {common}."
    steps: tuple[Wordings, ...] = (
        (f"Both {line}", line),
        (f"{top} / {common} = {top // common} and {bottom} / {common} = {bottom // common}.",),
        final(answer),
    )
    asks = (
        f"Write {top}/{bottom} in lowest terms.",
        f"Reduce {top}/{bottom} to lowest terms.",
        f"Simplify {top}/{bottom}.",
        f"What is {top}/{bottom} in lowest terms?",
    )
    exact = (REDUCE_EXACT.format(f"{top}/{bottom}"),)
    return Content(f"lowest {top}/{bottom}", asks, steps, answer, exact)


SUM = ProblemFamily(sample_sum, build_sum)
REDUCE = ProblemFamily(sample_reduce, build_reduce)
