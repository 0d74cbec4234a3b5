r"""Kinds of change that keep an answer what it is (see evals.audit.kinds)."""

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

UNITS = ("{} cm", r"{}\text{{ cm}}", "{} km/h", "{} dollars", r"{} \text{{ apples}}", "{} m²", "{} square inches")


@kind("a unit behind a bare number", equal=True)
def unit(problem: Problem, random: Random) -> str | None:
    bare = whole(problem) is not None and not problem.meta.get("unit")
    return random.choice(UNITS).format(plain(problem)) if bare else None


@kind("a currency sign", equal=True)
def currency(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    fits = found is not None and found >= 0 and not problem.meta.get("unit")
    return random.choice([r"\$", "$", "£", "€"]) + plain(problem) if fits else None


@kind("thousands apart", equal=True)
def thousands(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    if found is None or abs(found) < 1000:
        return None
    return f"{found:,}".replace(",", random.choice([",", "{,}", r",\!", r"\,", " "]))


@kind("a name in front", equal=True)
def named(problem: Problem, random: Random) -> str | None:
    if number(problem) is None and (formula(problem) is None or "=" in plain(problem)):
        return None
    return random.choice(["x = {}", r"\text{{Area}} = {}", "S={}", "a_1 = {}"]).format(plain(problem))


@kind("the name behind", equal=True)
def turned_name(problem: Problem, random: Random) -> str | None:
    return f"{plain(problem)} = x" if number(problem) is not None else None


@kind("a chain of equals", equal=True)
def chain(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    return None if found is None else f"{found + 7} - 7 = {found}"


@kind("a sum in place of its value", equal=True)
def summed(problem: Problem, random: Random) -> str | None:
    found = whole(problem)
    return None if found is None else f"{found - 3} + 3"


@kind("a fraction in other numbers", equal=True)
def scaled(problem: Problem, random: Random) -> str | None:
    found, by = number(problem), random.randint(2, 9)
    if found is None or "e" in plain(problem) or "." in plain(problem):
        return None
    sign = "-" if found < 0 else ""
    top, low = abs(found.numerator) * by, found.denominator * by
    return random.choice([rf"{sign}\frac{{{top}}}{{{low}}}", f"{sign}{top}/{low}", rf"{sign}\dfrac{{{top}}}{{{low}}}"])


@kind("a mixed number", equal=True)
def mixed(problem: Problem, random: Random) -> str | None:
    found = number(problem)
    if found is None or found.denominator == 1 or abs(found) < 1 or "." in plain(problem):
        return None
    whole_part, rest = divmod(abs(found.numerator), found.denominator)
    sign = "-" if found < 0 else ""
    form = random.choice(
        [rf"{whole_part}\frac{{{rest}}}{{{found.denominator}}}", f"{whole_part} {rest}/{found.denominator}"]
    )
    return sign + form


@kind("a fraction as a decimal", equal=True)
def decimal(problem: Problem, random: Random) -> str | None:
    found = number(problem)
    if found is None or found.denominator == 1 or "." in plain(problem) or "e" in plain(problem):
        return None
    sign, value = ("-" if found < 0 else ""), abs(found)
    whole_part, rest = divmod(value.numerator, value.denominator)
    digits: list[int] = []
    seen: dict[int, int] = {}
    while rest and rest not in seen and len(digits) < 40:
        seen[rest] = len(digits)
        digit, rest = divmod(rest * 10, value.denominator)
        digits.append(digit)
    text = "".join(map(str, digits))
    if not rest:
        return f"{sign}{whole_part}.{text}"
    at = seen.get(rest)
    return None if at is None else rf"{sign}{whole_part}.{text[:at]}\overline{{{text[at:]}}}"


@kind("a decimal as a fraction", equal=True)
def as_fraction(problem: Problem, random: Random) -> str | None:
    found = number(problem)
    if found is None or "." not in plain(problem) or "e" in plain(problem):
        return None
    return rf"\frac{{{found.numerator}}}{{{found.denominator}}}"


@kind("a power of ten", equal=True)
def scientific(problem: Problem, random: Random) -> str | None:
    found = number(problem)
    match = re.fullmatch(r"(-?[0-9.]+)e(-?[0-9]+)", plain(problem))
    if match:
        return random.choice([r"{} \times 10^{{{}}}", r"{}\cdot10^{{{}}}", "{} * 10^{{{}}}", "{}E{}"]).format(
            *match.groups()
        )
    if found is None or found == 0 or found.denominator != 1 or found % 10:
        return None
    return rf"{found.numerator // 10} \times 10"


@kind("other characters for the same signs", equal=True)
def characters(problem: Problem, random: Random) -> str | None:
    text = plain(problem)
    if problem.kind == "choice" or "text" in text:
        return None
    swapped = text.replace("-", random.choice("−‑–")).replace(r"\pi", "π ").replace(r"\cdot", "·")
    swapped = swapped.replace("^{2}", "²").replace(r"\frac{1}{2}", "½").replace(r"\infty", "∞").replace(r"\cup", "∪")
    if whole(problem) is not None and swapped == text:
        swapped = text.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"})
    return swapped if swapped != text else None


@kind("other sizes and spaces", equal=True)
def sizes(problem: Problem, random: Random) -> str | None:
    text = plain(problem)
    if problem.kind == "choice" or not re.search(r"\\frac\{|[-+(]", text) or "text" in text:
        return None
    spaced = re.sub(r"(?<=[a-zA-Z0-9}]) ?([+]) ?(?=[a-zA-Z0-9\\])", r" \1 ", text).replace(r"\frac{", r"\dfrac{")
    spaced = re.sub(r"(?<!\\left)(?<!\\)([(])", r"\\left(", spaced)
    spaced = re.sub(r"(?<!\\right)(?<!\\)([)])", r"\\right)", spaced)
    if spaced.count(r"\left") != spaced.count(r"\right"):
        return None
    spaced = random.choice([r"\displaystyle ", r"\,", ""]) + spaced
    return spaced if spaced != text else None


@kind("delimiters around it", equal=True)
def delimiters(problem: Problem, random: Random) -> str | None:
    text = plain(problem)
    return (
        None
        if problem.kind == "choice" or r"\$" in text
        else random.choice(["${}$", r"\({}\)", "{}.", r"\boxed{{{}}}"]).format(text)
    )


@kind("the summands in another order", equal=True)
def reordered(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    if text is None:
        return None
    depth = 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth == 0 and char in "+-" and index and text[index - 1] not in "^_/(":
            return (
                f"{char if char == '-' else ''}{text[index + 1 :].strip()} + {text[:index].strip()}"
                if not re.search(r"[-+]", text[index + 1 :])
                else None
            )
    return None


@kind("times and by three", equal=True)
def cancelled(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    return (
        None
        if text is None
        else random.choice([r"\frac{{3({})}}{{3}}", "({}) * 6 / 6", r"\frac13 \cdot 3({})"]).format(text)
    )
