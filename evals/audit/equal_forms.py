r"""Kinds of change that keep an answer what it is: formulas, lists, tuples, relations, words, letters, units."""

from __future__ import annotations

import re
from fractions import Fraction
from random import Random

from evals.audit.kinds import (
    bracket,
    chosen,
    entries,
    formula,
    kind,
    letter,
    plain,
    relation,
    united,
    word,
)
from evals.data.problems import Problem

ORDERS = (r"\le", "≤", r"\leq", "<=")


@kind("roots as powers", equal=True)
def powers(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    if text is None or r"\sqrt{" not in text:
        return None
    power = random.choice(["{1/2}", "{0.5}", r"{\frac12}"])
    return re.sub(r"\\sqrt\{([^{}]*)\}", lambda match: f"({match[1]})^{power}", text)


@kind("fractions with a slash", equal=True)
def slashes(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    if text is None or not re.search(r"\\frac\{[^{}]*\}\{[^{}]*\}", text) or re.search(r"\\frac\{d", text):
        return None
    return re.sub(r"\\frac ?\{([^{}]*)\} ?\{([^{}]*)\}", r"((\1)/(\2))", text)


@kind("nothing added", equal=True)
def zero(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    return None if text is None else random.choice(["{} + 5 - 5", "7 + {} - 7", "0 + ({})"]).format(text)


@kind("the list in another order", equal=True)
def shuffled(problem: Problem, random: Random) -> str | None:
    found = entries(problem)
    return None if found is None else random.choice([", ", ",", r" \text{ and } ", " and "]).join(reversed(found))


@kind("braces around the list", equal=True)
def braced(problem: Problem, random: Random) -> str | None:
    found = entries(problem)
    return None if found is None or any("=" in one for one in found) else rf"\{{{', '.join(found)}\}}"


@kind("entries of a tuple in other forms", equal=True)
def entry_forms(problem: Problem, random: Random) -> str | None:
    found = bracket(problem)
    if found is None:
        return None
    made = [
        f"{int(entry) - 1} + 1" if re.fullmatch("-?[0-9]+", entry) else entry.replace(r"\frac{", r"\dfrac{")
        for entry in found[1]
    ]
    return f"{found[0]}{', '.join(made)}{found[2]}"


@kind("an interval as an inequality", equal=True)
def inequality(problem: Problem, random: Random) -> str | None:
    found = bracket(problem)
    if (
        found is None
        or problem.meta.get("type") == "Tuple"
        or not (r"\infty" in plain(problem) or found[0] + found[2] != "()")
    ):
        return None
    low, high = found[1]
    left = "" if "infty" in low else f"{low} {'<' if found[0] == '(' else random.choice(ORDERS)} "
    right = "" if "infty" in high else f" {'<' if found[2] == ')' else random.choice(ORDERS)} {high}"
    return f"{left}x{right}"


@kind("the sides of an equation changed over", equal=True)
def sides(problem: Problem, random: Random) -> str | None:
    found = relation(problem)
    return None if found is None else f"{found[1]} = {found[0]}"


@kind("all on one side of an equation", equal=True)
def one_side(problem: Problem, random: Random) -> str | None:
    found = relation(problem)
    if (
        found is None
        or re.fullmatch(r"[-0-9]+|\\frac.*\\sqrt\{2\}", found[1])
        or "(" in found[0]
        or re.fullmatch("[A-Z]+", found[0] * 2)
    ):
        return None
    return f"{found[0]} - ({found[1]}) = 0"


@kind("letters and words in the other case", equal=True)
def cased(problem: Problem, random: Random) -> str | None:
    found = word(problem) or letter(problem)
    return None if found is None else found.swapcase()


@kind("words in another font", equal=True)
def font(problem: Problem, random: Random) -> str | None:
    found = word(problem) or letter(problem)
    return (
        None
        if found is None
        else random.choice([r"\textbf{{{}}}", r"\mathrm{{{}}}", r"\textit{{{}}}", "**{}**", r"\text{{{}.}}"]).format(
            found
        )
    )


@kind("the letter with its text", equal=True)
def lettered(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return (
        None
        if found is None
        else random.choice(["{}. {}", "({}) {}", "{}) {}", "{} - {}", "{}: {}", "{}; {}"]).format(
            found, chosen(problem, found)
        )
    )


@kind("the letter named as one", equal=True)
def announced(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return (
        None
        if found is None
        else random.choice(["Option {}", "option ({})", "Answer: {}", "Choice {}.", r"\text{{Option {}}}"]).format(
            found
        )
    )


@kind("the letter with marks", equal=True)
def marked(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return (
        None
        if found is None
        else random.choice(["{};", "({})", "{}.", "[{}]", "{}:", r"\{}"]).format(found)
        if found
        else None
    )


@kind("a unit spelled out or left out", equal=True)
def spelled(problem: Problem, random: Random) -> str | None:
    text, found = plain(problem), united(problem)
    if found is None:
        return None
    names = {
        "cm}^2": " square centimeters",
        "inches}^2": " in^2",
        "cents": " cents",
        "degrees": r"^\circ",
        "circ": " degrees",
    }
    return random.choice([found, *(found + name for key, name in names.items() if key in text)])


@kind("a percentage otherwise", equal=True)
def percentage(problem: Problem, random: Random) -> str | None:
    match = re.fullmatch(r"([0-9.]+) ?\\?%", plain(problem))
    if match is None:
        return None
    value = Fraction(match[1])
    return random.choice([f"{match[1]} percent", match[1], rf"\frac{{{value.numerator}}}{{{value.denominator * 100}}}"])


@kind("money otherwise", equal=True)
def money(problem: Problem, random: Random) -> str | None:
    match = re.fullmatch(r"\\\$([0-9,.]+)", plain(problem))
    return (
        None
        if match is None
        else random.choice(["{}", "{} dollars", r"{}\text{{ dollars}}", "x = {}"]).format(match[1])
    )
