"""Percentages, remainders and greatest common divisors."""

from __future__ import annotations

from math import gcd
from random import Random

from gsi_node.pocket.world.content import Content, Params, ProblemFamily, Wordings, final, ints, minus, plus, product

PERCENTS = {5: 20, 15: 20, 25: 4, 50: 2, 75: 4, 10: 10, 20: 10, 30: 10, 40: 10, 60: 10, 70: 10, 80: 10, 90: 10}
"""Per cent, and the number that whole amounts must be a multiple of."""
GCD_EXACT = "Find the Greatest Common Divisor (GCD) of these numbers: {}. Give only the GCD as your final answer."


def sample_percent(rng: Random) -> Params:
    """One of thirteen percentages, of a whole at most 400 (200 for quarters and halves), with a whole result."""
    percent = rng.choice(tuple(PERCENTS))
    unit = PERCENTS[percent]
    return percent, unit * rng.randint(2, (400 if unit in (10, 20) else 120) // unit)


def build_percent(params: Params) -> Content:
    """Parameters: percent and whole."""
    percent, whole = ints(params)
    steps: list[Wordings]
    if percent in (25, 50, 75):
        unit = 50 if percent == 50 else 25
        value = whole * unit // 100
        steps = [(f"{unit}% of {whole} is {whole} / {100 // unit} = {value}.",)]
    else:
        unit, value = 10, whole // 10
        steps = [(f"10% of {whole} is {whole} / 10 = {value}.", f"A tenth of {whole} is {whole} / 10 = {value}.")]
    result = whole * percent // 100
    if percent in (5, 15):
        steps.append((f"5% is half of that: {value} / 2 = {value // 2}.",))
        if percent == 15:
            steps.append((f"15% is {plus(value, value // 2)}.",))
    elif percent != unit:
        steps.append((f"{percent}% is {product(percent // unit, value)}.",))
    steps.append(final(str(result)))
    asks = (
        f"What is {percent}% of {whole}?",
        f"Compute {percent}% of {whole}.",
        f"Find {percent}% of {whole}.",
        f"How much is {percent}% of {whole}?",
        f"What is {percent} percent of {whole}?",
    )
    return Content(f"percent {percent} {whole}", asks, tuple(steps), str(result))


def sample_remainder(rng: Random) -> Params:
    """A divisor of 2 to 12, a quotient of 1 to 12."""
    divisor = rng.randint(2, 12)
    return divisor * rng.randint(1, 12) + rng.randrange(divisor), divisor


def build_remainder(params: Params) -> Content:
    """Parameters: dividend and divisor."""
    a, b = ints(params)
    quotient, rest = divmod(a, b)
    below = f"{product(b, quotient)}."
    steps: tuple[Wordings, ...] = (
        (f"{b} goes {quotient} times into {a}.", f"{b} fits {quotient} times into {a}."),
        (below,),
        (f"{minus(a, b * quotient)}.",),
        final(str(rest), "The remainder is {}."),
    )
    asks = (
        f"What is the remainder when {a} is divided by {b}?",
        f"Find the remainder when {a} is divided by {b}.",
        f"What remains when {a} is divided by {b}?",
        f"Divide {a} by {b}. What is the remainder?",
    )
    return Content(f"remainder {a} {b}", asks, steps, str(rest))


def sample_gcd(rng: Random) -> Params:
    """Two numbers of 1 to 60; two draws in three have a common divisor above 1 where ten tries find one."""
    a, b = rng.randint(1, 60), rng.randint(1, 60)
    for _ in range(10 if rng.random() < 0.6 else 0):
        if gcd(a, b) > 1:
            break
        a, b = rng.randint(1, 60), rng.randint(1, 60)
    return a, b


def build_gcd(params: Params) -> Content:
    """Parameters: the two numbers, in the order asked; Euclid's algorithm on the larger and the smaller."""
    a, b = ints(params)
    high, low = max(a, b), min(a, b)
    steps: list[Wordings] = []
    while low:
        times, rest = divmod(high, low)
        line = f"{minus(high, low)}." if times == 1 else f"{product(times, low)} and {minus(high, times * low)}."
        steps.append((line, f"By Euclid, {line}") if not steps else (line,))
        high, low = low, rest
    steps.append(final(str(high), "The greatest common divisor is {}."))
    asks = (
        f"What is the greatest common divisor of {a} and {b}?",
        f"Find the greatest common divisor of {a} and {b}.",
        f"Compute the GCD of {a} and {b}.",
        f"What is the largest number that divides both {a} and {b}?",
    )
    key = f"gcd {max(a, b)} {min(a, b)}"
    return Content(key, asks, tuple(steps), str(high), (GCD_EXACT.format(f"{a}, {b}"),))


PERCENT = ProblemFamily(sample_percent, build_percent)
REMAINDER = ProblemFamily(sample_remainder, build_remainder)
GCD = ProblemFamily(sample_gcd, build_gcd)
