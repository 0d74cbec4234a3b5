"""Linear equations in one unknown, and arithmetic sequences."""

from __future__ import annotations

from random import Random
from string import ascii_lowercase
from typing import cast

from gsi_node.pocket.world.content import Content, Params, ProblemFamily, Wordings, final, ints, minus, plus, product

LINEAR_EXACT = (
    "Find the value of {} in the equation: {}",
    "Solve for {}: {}",
    "Determine the value of {} that satisfies: {}",
)


def sample_linear(rng: Random) -> Params:
    """Form `ax+b`, `ax-b` or `b-ax`; a and x of 1 to 12, b of 1 to 30."""
    form = rng.choice(("ax+b", "ax+b", "ax-b", "ax-b", "b-ax"))
    letter = "x" if rng.random() < 0.5 else rng.choice(ascii_lowercase)
    return form, letter, rng.randint(1, 12), rng.randint(1, rng.choice((12, 30))), rng.randint(1, 12)


def build_linear(params: Params) -> Content:
    """Parameters: form, letter, a, b, solution."""
    form, letter = cast(str, params[0]), cast(str, params[1])
    a, b, solution = ints(params[2:])

    def left(times: str) -> str:
        term = letter if a == 1 else f"{a}{times}{letter}"
        return {"ax+b": f"{term} + {b}", "ax-b": f"{term} - {b}", "b-ax": f"{b} - {term}"}[form]

    term = letter if a == 1 else f"{a}{letter}"
    right = {"ax+b": a * solution + b, "ax-b": a * solution - b, "b-ax": b - a * solution}[form]
    if form == "ax+b":
        line = f"{term} = {minus(right, b)}."
        steps: list[Wordings] = [(f"Subtract {b} from both sides: {line}", f"Taking {b} from both sides gives {line}")]
    elif form == "ax-b":
        line = f"{term} = {plus(right, b)}."
        steps = [(f"Add {b} to both sides: {line}", f"Adding {b} to both sides gives {line}")]
    else:
        line = f"{term} = {minus(b, right) if right >= 0 else plus(b, -right)}."
        steps = [(f"Move the terms: {line}", f"Moving the terms gives {line}")]
    if a > 1:
        line = f"{letter} = {a * solution} / {a} = {solution}."
        steps.append((f"Divide both sides by {a}: {line}", f"Dividing by {a} gives {line}"))
    steps.append(final(str(solution)))
    equation = f"{left('')} = {right}"
    asks = (
        f"Solve for {letter}: {equation}.",
        f"What is {letter} if {equation}?",
        f"Find {letter} such that {equation}.",
        f"Solve {equation}.",
        f"If {equation}, what is {letter}?",
    )
    exact = tuple(ask.format(letter, f"{left('*')} = {right}") for ask in LINEAR_EXACT)
    return Content(f"linear {form} {a} {b} {solution}", asks, tuple(steps), str(solution), exact)


def sample_sequence(rng: Random) -> Params:
    """First term 1 to 20, difference 2 to 9, asked for term 6 to 13."""
    return rng.randint(1, 20), rng.randint(2, 9), rng.randint(6, 13)


def build_sequence(params: Params) -> Content:
    """Parameters: first term, difference, index of the term asked for."""
    first, step, index = ints(params)
    shown = ", ".join(str(first + step * k) for k in range(3))
    jump = step * (index - 1)
    steps: tuple[Wordings, ...] = (
        (f"The difference is {minus(first + step, first)}.", f"Each term adds {minus(first + step, first)}."),
        (f"From term 1 to term {index} there are {index} - 1 = {index - 1} jumps.",),
        (f"{product(index - 1, step)}.",),
        (f"{plus(first, jump)}.",),
        final(str(first + jump)),
    )
    asks = (
        f"What is the {index}th term of the arithmetic sequence {shown}, ...?",
        f"Find term {index} of the arithmetic sequence {shown}, ...",
        f"The sequence {shown}, ... is arithmetic. What is its {index}th term?",
        f"An arithmetic sequence starts {shown}. What is term number {index}?",
    )
    return Content(f"sequence {first} {step} {index}", asks, steps, str(first + jump))


LINEAR = ProblemFamily(sample_linear, build_linear)
SEQUENCE = ProblemFamily(sample_sequence, build_sequence)
