r"""Kinds of change that keep an answer what it is (see evals.rewrites)."""

from __future__ import annotations

import re
from fractions import Fraction
from random import Random

from evals.problems import Problem
from evals.rewrites import (
    bracket,
    chosen,
    entries,
    formula,
    kind,
    letter,
    number,
    plain,
    relation,
    united,
    whole,
    word,
)

ORDERS = (r"\le", "≤", r"\leq", "<=")
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
    form = random.choice([rf"{whole_part}\frac{{{rest}}}{{{found.denominator}}}", f"{whole_part} {rest}/{found.denominator}"])
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
        return random.choice([r"{} \times 10^{{{}}}", r"{}\cdot10^{{{}}}", "{} * 10^{{{}}}", "{}E{}"]).format(*match.groups())
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
    return None if problem.kind == "choice" or r"\$" in text else random.choice(["${}$", r"\({}\)", "{}.", r"\boxed{{{}}}"]).format(text)


@kind("the summands in another order", equal=True)
def reordered(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    if text is None:
        return None
    depth = 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth == 0 and char in "+-" and index and text[index - 1] not in "^_/(":
            return f"{char if char == '-' else ''}{text[index + 1 :].strip()} + {text[:index].strip()}" if not re.search(r"[-+]", text[index + 1 :]) else None
    return None


@kind("times and by three", equal=True)
def cancelled(problem: Problem, random: Random) -> str | None:
    text = formula(problem)
    return None if text is None else random.choice([r"\frac{{3({})}}{{3}}", "({}) * 6 / 6", r"\frac13 \cdot 3({})"]).format(text)


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
    made = [f"{int(entry) - 1} + 1" if re.fullmatch("-?[0-9]+", entry) else entry.replace(r"\frac{", r"\dfrac{") for entry in found[1]]
    return f"{found[0]}{', '.join(made)}{found[2]}"


@kind("an interval as an inequality", equal=True)
def inequality(problem: Problem, random: Random) -> str | None:
    found = bracket(problem)
    if found is None or problem.meta.get("type") == "Tuple" or not (r"\infty" in plain(problem) or found[0] + found[2] != "()"):
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
    if found is None or re.fullmatch(r"[-0-9]+|\\frac.*\\sqrt\{2\}", found[1]) or "(" in found[0] or re.fullmatch("[A-Z]+", found[0] * 2):
        return None
    return f"{found[0]} - ({found[1]}) = 0"


@kind("letters and words in the other case", equal=True)
def cased(problem: Problem, random: Random) -> str | None:
    found = word(problem) or letter(problem)
    return None if found is None else found.swapcase()


@kind("words in another font", equal=True)
def font(problem: Problem, random: Random) -> str | None:
    found = word(problem) or letter(problem)
    return None if found is None else random.choice([r"\textbf{{{}}}", r"\mathrm{{{}}}", r"\textit{{{}}}", "**{}**", r"\text{{{}.}}"]).format(found)


@kind("the letter with its text", equal=True)
def lettered(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return None if found is None else random.choice(["{}. {}", "({}) {}", "{}) {}", "{} - {}", "{}: {}", "{}; {}"]).format(found, chosen(problem, found))


@kind("the letter named as one", equal=True)
def announced(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return None if found is None else random.choice(["Option {}", "option ({})", "Answer: {}", "Choice {}.", r"\text{{Option {}}}"]).format(found)


@kind("the letter with marks", equal=True)
def marked(problem: Problem, random: Random) -> str | None:
    found = letter(problem)
    return None if found is None else random.choice(["{};", "({})", "{}.", "[{}]", "{}:", r"\{}"]).format(found) if found else None


@kind("a unit spelled out or left out", equal=True)
def spelled(problem: Problem, random: Random) -> str | None:
    text, found = plain(problem), united(problem)
    if found is None:
        return None
    names = {"cm}^2": " square centimeters", "inches}^2": " in^2", "cents": " cents", "degrees": r"^\circ", "circ": " degrees"}
    return random.choice([found, *(found + name for key, name in names.items() if key in text)])


@kind("a percentage otherwise", equal=True)
def percentage(problem: Problem, random: Random) -> str | None:
    match = re.fullmatch(r"([0-9.]+) ?\\?%", plain(problem))
    if match is None:
        return None
    value = Fraction(match[1])
    return random.choice([f"{match[1]} percent", match[1], rf"\frac{{{value.numerator}}}{{{value.denominator * 100}}}"])
