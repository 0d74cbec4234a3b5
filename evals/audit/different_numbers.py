r"""Kinds of change that make an answer another one that looks near (see evals.audit.kinds)."""

from __future__ import annotations

import re
from random import Random

from evals.audit.kinds import (
    formula,
    kind,
    number,
    plain,
    whole,
)
from evals.data.problems import Problem

CHANGING = (
    "tenths thirds halves factorial quadrillion squared dozen million hundredths below or~more percent~less "
    "degrees~below~zero and~a~half cubed thousand"
).split()


@kind("another last digit", equal=False)
def digit(problem: Problem, random: Random) -> str | None:
    text = plain(problem)
    if problem.kind == "choice" or (number(problem) is None and formula(problem) is None):
        return None
    rounded = re.search(r"[0-9]\.[0-9]|[0-9]e-?[0-9]", text)  # nearly equal in a set whose numbers are rounded
    match = re.search("[1-9]" if rounded else r"[0-9](?=[^0-9]*$)", text)
    if match is None or (formula(problem) and re.search(r"_\{?[0-9]?$", text[: match.start()])):
        return None
    new = (int(match[0]) + random.randint(1, 8)) % 10
    changed = text[: match.start()] + str(new) + text[match.end() :]
    return None if re.search(r"/ ?0|\{0\}|\^0|(?<![0-9.])[01]$", changed) else changed


@kind("the other sign", equal=False)
def sign(problem: Problem, random: Random) -> str | None:
    found, text = number(problem), plain(problem)
    if found:
        return text[1:] if text.startswith("-") else "-" + text
    return f"-({text})" if formula(problem) is not None else None


@kind("one more", equal=False)
def more(problem: Problem, random: Random) -> str | None:
    rounded = re.search(r"[0-9]e-?[0-9]", plain(problem))  # nearly equal in a set whose numbers are rounded
    if rounded or (number(problem) is None and formula(problem) is None):
        return None
    return f"{plain(problem)} {random.choice(['+', '-'])} 1"


@kind("a hair away", equal=False)
def hair(problem: Problem, random: Random) -> str | None:
    exact = "." not in plain(problem) and "e" not in plain(problem).replace(r"\frac", "")
    if not exact or (number(problem) is None and formula(problem) is None):
        return None
    return plain(problem) + random.choice([r" + \frac{1}{2^{100}}", " + 10^{-40}", r" - \frac{1}{3^{90}}"])


@kind("ten times as much", equal=False)
def tenfold(problem: Problem, random: Random) -> str | None:
    found, text = number(problem), plain(problem)
    if not found:
        return None
    if match := re.fullmatch(r"(-?[0-9.]+)e(-?[0-9]+)", text):
        return rf"{match[1]} \times 10^{{{int(match[2]) + random.choice([-1, 1])}}}"
    return f"{text}0" if "." not in text and "{" not in text else f"10 \\cdot {text}"


@kind("a word that changes the value", equal=False)
def wordy(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    if found is None or abs(found) < 3:
        return None
    said = random.choice(CHANGING).replace("~", " ")
    return random.choice(["{} {}", r"{} \text{{ {}}}"]).format(found, said)


@kind("a space inside the number", equal=False)
def spaced(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    if found is None or abs(found) < 10 or len(str(abs(found))) > 3:
        return None
    return plain(problem)[:-1] + " " + plain(problem)[-1]


@kind("a letter behind the number", equal=False)
def variable(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    return None if not found else random.choice([r"{}\pi", "{}x", "{}ab", r"{}\sqrt{{2}}", "{}i"]).format(found)


@kind("two answers for one", equal=False)
def doubled(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    if found is None:
        return None
    return random.choice(["{}, {}", "{} or {}", r"{} \text{{ or }} {}", "{} and {}"]).format(found, found + 1)


@kind("upside down", equal=False)
def inverted(problem: Problem, random: Random) -> str | None:
    found = number(problem)
    if not found or found.denominator == 1 or abs(found) == 1 or "." in plain(problem) or "e" in plain(problem):
        return None
    return rf"\frac{{{found.denominator}}}{{{found.numerator}}}"


@kind("a mixed number run together", equal=False)
def run_together(problem: Problem, random: Random) -> str | None:
    found = number(problem)
    if found is None or found.denominator == 1 or found < 1 or "." in plain(problem):
        return None
    return f"{found.numerator // found.denominator}{found.numerator % found.denominator}/{found.denominator}"
