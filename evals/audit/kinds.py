r"""Gold answers written otherwise, with known truth: each kind of change keeps the value or changes it by construction.

    for kind in KINDS: kind.rewrite(problem, random) → the new text, or None where the kind does not apply

Nothing here imports the grader, so that `evals.audit` can hold the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from string import ascii_uppercase

from evals.data.problems import Problem
from evals.graders.letters import read_choices

Rewrite = Callable[[Problem, Random], str | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of change: whether the new text is still the same answer, and how it is made."""

    name: str
    equal: bool
    rewrite: Rewrite


KINDS: list[Kind] = []

_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"(-?)([0-9]*)\.([0-9]+)")
_SCIENTIFIC = re.compile(r"(-?[0-9.]+)e(-?[0-9]+)")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}")
_TUPLE = re.compile(r"(?:\\left ?)?([(\[]) ?(.*?) ?(?:\\right ?)?([)\]])")
_NAMED = re.compile(r"([A-Za-z](?:\([a-z]\))?) ?= ?(.+)")
_WORD = re.compile(r"\\text\{\(?([A-Za-z]+)\)?\}")
_TYPESET = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]")
_UNIT = re.compile(r"(?<=[0-9}]) ?(?:\\(?:text|mbox|mathrm)\{[^{}]*\}(?:\^\S{1,9})?|\^\{?\\circ\}?)$")


def kind(name: str, *, equal: bool) -> Callable[[Rewrite], Rewrite]:
    """Enter a function into KINDS."""

    def enter(make: Rewrite) -> Rewrite:
        KINDS.append(Kind(name, equal, make))
        return make

    return enter


def plain(problem: Problem) -> str:
    """The gold answer without the dollars around it."""
    text = problem.answer.strip().removesuffix(".")
    text = text.replace("$", "") if r"\$" not in text else text
    return text.replace(r"\quad", "").replace(r",\!", "").strip()


def whole(problem: Problem) -> int | None:
    """The gold answer as a whole number."""
    text = plain(problem).replace(" ", "")
    return int(text) if problem.kind != "choice" and _INTEGER.fullmatch(text) else None


def number(problem: Problem) -> Fraction | None:
    """The gold answer as a number, where it is one and nothing more."""
    text = plain(problem)
    if problem.kind == "choice":
        return None
    if (found := whole(problem)) is not None:
        return Fraction(found)
    if match := _FRACTION.fullmatch(text):
        return Fraction(int(match[1] + match[2]), int(match[3]))
    return Fraction(text) if _DECIMAL.fullmatch(text) or _SCIENTIFIC.fullmatch(text) else None


def entries(problem: Problem) -> list[str] | None:
    """The answers of a list, whose order means nothing; None for anything else."""
    text = plain(problem)
    listed = problem.meta.get("several") or re.fullmatch(r"[-0-9]+(, ?[-0-9]+)+", text)
    if problem.kind == "choice" or not listed or "text" in text or "where" in text or r"\pm" in text:
        return None
    if re.fullmatch(r"[0-9]{1,3},[0-9]{3}", text) and not problem.meta.get("several"):
        return None  # a thousands separator
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    found = [*parts, text[start:].strip()]
    return found if len(found) > 1 and all(found) else None


def bracket(problem: Problem) -> tuple[str, list[str], str] | None:
    """One tuple or interval: opening, entries, closing."""
    match = _TUPLE.fullmatch(plain(problem))
    if (
        problem.kind == "choice"
        or problem.meta.get("several")
        or match is None
        or re.search(r"[()\[\]]", match[2])
        or "," not in match[2]
    ):
        return None
    return match[1], [part.strip() for part in match[2].split(",")], match[3]


def formula(problem: Problem) -> str | None:
    """An expression to compute with: no list, tuple, word, unit, relation or number; None for anything else."""
    text = plain(problem)
    if problem.kind == "choice" or number(problem) is not None or entries(problem) or bracket(problem):
        return None
    if re.search(
        r"text|mbox|[=,%$<>]|\\pm|\\in|\\cup|geq|begin|np\.|\^\{?\\circ|[0-9]_|angle|\\!|[A-Z]_|[0-9] ?\\frac", text
    ):
        return None
    return text if re.search(r"\\|[a-zA-Z^]|[0-9] ?[-+*/] ?[0-9]", text) else None


def relation(problem: Problem) -> tuple[str, str] | None:
    """(left, right) of one equation."""
    left, *right = plain(problem).split("=")
    one = problem.kind != "choice" and len(right) == 1 and entries(problem) is None
    return (left.strip(), right[0].strip()) if one and "where" not in right[0] else None


def letter(problem: Problem) -> str | None:
    """The letter of a choice."""
    return problem.answer if problem.kind == "choice" else None


def chosen(problem: Problem, at: str) -> str:
    """The text of the choice `at`."""
    return read_choices(problem.meta)[ascii_uppercase.index(at)]


def other(problem: Problem) -> str:
    """A letter that is not the answer."""
    letters = ascii_uppercase[: len(read_choices(problem.meta))]
    return letters[(letters.index(problem.answer) + 1) % len(letters)]


def word(problem: Problem) -> str | None:
    """The word or letter that the gold answer is."""
    match = _WORD.fullmatch(plain(problem))
    return match[1] if match and problem.kind != "choice" else None


def united(problem: Problem) -> str | None:
    """The number of an answer with its unit in a \\text or a degree sign."""
    match = _UNIT.search(plain(problem))
    fits = match is not None and problem.kind != "choice" and entries(problem) is None
    return plain(problem)[: match.start()] if match and fits else None


def symbols(text: str) -> list[re.Match[str]]:
    """The single letters of a formula that stand for something: not those of commands, e, i or a differential."""
    inside = re.sub(r"\\(?:text|mathrm) ?\{[^}]*\}", lambda match: "#" * len(match[0]), text)
    return [match for match in _TYPESET.finditer(inside) if len(match[0]) == 1 and match[0] not in "eidE"]
