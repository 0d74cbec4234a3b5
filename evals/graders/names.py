r"""Names before an answer, and what an equation says where its sides are more than a name and a value."""

from __future__ import annotations

import re

from evals.graders import notation

_FUNCTION = re.compile(r"([A-Za-z]) ?\( ?([A-Za-z]) ?\)")
_ACRONYM = re.compile(r"\\(?:text|mathrm|mbox) ?\{ ?([A-Z]{2,6}) ?\}")
_LONE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_INDEXED = re.compile(r"_(?:\{[^{}]*\}|.)$")
_RUN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")
_LISTED = re.compile(r", and |, | and ")
_ARTICLE = re.compile(r"(?:an?|the) (?=[^ ])")
_ROUNDED = re.compile(r"\\(?:approx|simeq)(?![a-zA-Z])")


def aligned(first: tuple[str, str], second: tuple[str, str]) -> str | None:
    """The second's value where both (name, value) speak of the same: y and f(x), m and m_{max}, f(t) with t called x.

    None where the names differ.
    """
    names = [notation.squeezed(name) for name, _ in (first, second)]
    if names[0] == names[1] or any(_INDEXED.sub("", name) == other for name, other in (names, names[::-1])):
        return second[1]
    functions = [_FUNCTION.fullmatch(name) for name in names]
    if "y" in names and any(functions):
        return second[1]
    one, other = functions
    if one is None or other is None or one[1] != other[1]:
        return None
    products = "".join(_RUN.findall(second[1]))
    if one[2] in _LONE.findall(second[1]) or one[2] in products or other[2] in products:
        return None
    return _LONE.sub(lambda match: one[2] if match[0] == other[2] else match[0], second[1])


def vanishing(text: str) -> bool:
    """Whether a text says of letters that their sum, or product, is 0: "a + b = 0", but not "2x + y = 0"."""
    first, *rest = notation.sides(text)
    return rest == ["0"] and re.search("[A-Za-z]", first) is not None and re.search("[0-9]", first) is None


def approximated(text: str) -> tuple[str, str]:
    r""" "2\pi \approx 6.28" → ("2\pi", "6.28"); (text, "") where no value is said twice."""
    parts = _ROUNDED.split(text)
    named = len(notation.sides(text)) == 2 and notation.named(text) is not None
    if len(parts) != 2 or named or not all(part.strip() for part in parts):
        return text, ""
    return parts[0].strip(), parts[1].strip()


def plain(text: str) -> str:
    r"""Acronyms out of their \text: "\text{MR} = \text{MC}" → "MR = MC"."""
    return _ACRONYM.sub(r" \1 ", text)


def listed(text: str) -> list[str]:
    """The words that a text lists, without articles, in one order: "the cat and a dog" → ["cat", "dog"]."""
    return sorted(_ARTICLE.sub("", part, count=1) if _ARTICLE.match(part) else part for part in _LISTED.split(text))
