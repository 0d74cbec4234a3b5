r"""Kinds of change that make another answer: formulas, lists, tuples, relations, words, letters, units."""

from __future__ import annotations

import re
from random import Random

from evals.audit.kinds import (
    bracket,
    chosen,
    entries,
    formula,
    kind,
    letter,
    number,
    other,
    plain,
    relation,
    symbols,
    united,
    word,
)
from evals.data.problems import Problem


@kind("a letter in the other case", equal=False)
def case(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    found = [] if text is None else symbols(text)
    if text is None or not found:
        return None
    match = random.choice(found)
    changed = match[0].swapcase()
    return text[: match.start()] + changed + text[match.end() :]


@kind("another letter", equal=False)
def replaced(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    found = [] if text is None else symbols(text)
    if text is None or not found:
        return None
    match = random.choice(found)
    return text[: match.start()] + next(one for one in "qwzy" if one not in text) + text[match.end() :]


@kind("a plus for a minus", equal=False)
def turned(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    match = None if text is None else re.search(r"(?<=[0-9a-zA-Z}) ])[-+](?= ?[0-9a-zA-Z\\(])", text)
    if text is None or match is None:
        return None
    return text[: match.start()] + {"+": "-", "-": "+"}[match[0]] + text[match.end() :]


@kind("squared", equal=False)
def squared(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    return None if text is None or text == "i" else f"({text})^2"


@kind("times i", equal=False)
def imaginary(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    return None if text is None else random.choice(["i({})", "({})i", r"i \cdot ({})"]).format(text)


@kind("a root left out", equal=False)
def rootless(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    return text.replace(r"\sqrt{", "{", 1) if text is not None and r"\sqrt{" in text else None


@kind("a relation in place of a value", equal=False)
def relational(problem: Problem, random: Random) -> str | None:
    if number(problem) is None and formula(problem) is None:
        return None
    return random.choice([r"x \ge {}", "x < {}", r"x \neq {}", r"> {}"]).format(plain(problem))


@kind("one entry more", equal=False)
def longer(problem: Problem, random: Random) -> str | None:
    found = entries(problem)
    return None if found is None else ", ".join([*found, "77"])


@kind("one entry fewer", equal=False)
def shorter(problem: Problem, random: Random) -> str | None:
    found = entries(problem)
    return None if found is None else ", ".join(found[1:])


@kind("the entries run together", equal=False)
def joined(problem: Problem, random: Random) -> str | None:
    found = entries(problem)
    fits = found is not None and all(re.fullmatch("[0-9]+", one) for one in found)
    return "".join(found or ()) if fits else None


@kind("the other bracket", equal=False)
def other_bracket(problem: Problem, random: Random) -> str | None:
    found = bracket(problem)
    if found is None:
        return None
    return f"{found[0]}{', '.join(found[1])}{']' if found[2] == ')' else ')'}"


@kind("a tuple in another order", equal=False)
def disordered(problem: Problem, random: Random) -> str | None:
    found = bracket(problem)
    if found is None or found[1][0] == found[1][-1]:
        return None
    return f"{found[0]}{', '.join([found[1][-1], *found[1][1:-1], found[1][0]])}{found[2]}"


@kind("a tuple with another entry", equal=False)
def altered(problem: Problem, random: Random) -> str | None:
    found = bracket(problem)
    if found is None:
        return None
    return f"{found[0]}{', '.join([*found[1][:-1], '77'])}{found[2]}"


@kind("an equation with another side", equal=False)
def unbalanced(problem: Problem, random: Random) -> str | None:
    found = relation(problem)
    return (
        None
        if found is None
        else f"{found[0]} = {found[1]} + 1"
        if "(" not in found[0]
        else f"{found[0]} = {found[1]} + 2"
    )


@kind("an inequality for an equation", equal=False)
def loosened(problem: Problem, random: Random) -> str | None:
    found = relation(problem)
    return None if found is None else rf"{found[0]} \le {found[1]}"


@kind("another word", equal=False)
def another_word(problem: Problem, random: Random) -> str | None:
    found = word(problem)
    if found is None:
        return None
    said = (
        "ABCDE"["ABCDE".index(found) - 1] if len(found) == 1 else random.choice(["north", "Maria", "circle", "neither"])
    )
    return random.choice([r"\text{{{}}}", r"\text{{({})}}", "{}"]).format(said)


@kind("another letter of the choices", equal=False)
def another_letter(problem: Problem, random: Random) -> str | None:
    return (
        None
        if letter(problem) is None
        else random.choice(["{}", "({})", "Option {}", r"\textit{{{}}}", "**{}**"]).format(other(problem))
    )


@kind("two letters of the choices", equal=False)
def two_letters(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return (
        None
        if found is None
        else random.choice(["{} or {}", "{}, {}", "{} and {}", "{}{}", "{}; {}", "{} - {}", "{}/{}"]).format(
            found, other(problem)
        )
    )


@kind("the text of another choice", equal=False)
def another_text(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    if (
        found is None
        or chosen(problem, found) == chosen(problem, other(problem))
        or len(chosen(problem, other(problem))) < 2
    ):
        return None
    return random.choice(["{1}", "{0}. {1}"]).format(other(problem), chosen(problem, other(problem)))


@kind("not the letter", equal=False)
def denied(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return (
        None
        if found is None
        else random.choice(["not {}", "all but {}", "{}?", r"\neg {}", "Z"])
        .format(found)
        .replace("{}?", f"{found}{found}")
    )


@kind("another unit", equal=False)
def another_unit(problem: Problem, random: Random) -> str | None:
    found = united(problem)
    return None if found is None else random.choice(["{} km", r"{}\text{{ kg}}", "{} hours"]).format(found)


@kind("another percentage", equal=False)
def another_percentage(problem: Problem, random: Random) -> str | None:
    match = re.fullmatch(r"([0-9.]+) ?\\?%", plain(problem))
    return (
        None
        if match is None
        else random.choice(
            [f"{match[1]}{5 if '.' in match[1] else 0}%", rf"0.{match[1].replace('.', '')}\%", f"1{match[1]}"]
        )
    )


@kind("another digit somewhere", equal=False)
def somewhere(problem: Problem, random: Random) -> str | None:
    text = plain(problem)
    if problem.kind == "choice" or number(problem) is not None or formula(problem) is not None:
        return None
    found = list(re.finditer("[0-8]", text))
    if not found:
        return None
    match = random.choice(found)
    return text[: match.start()] + str(int(match[0]) + 1) + text[match.end() :]


@kind("other money", equal=False)
def other_money(problem: Problem, random: Random) -> str | None:
    match = re.fullmatch(r"\\\$([0-9,.]+)", plain(problem))
    return None if match is None else random.choice(["{} cents", "€{}", "{} thousand dollars", "1{}"]).format(match[1])
