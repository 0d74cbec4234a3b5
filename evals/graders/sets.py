r"""Sets of real numbers as intervals and their unions, however they are written.

"x > 3" → "(3, \infty)", "x < 2 or x = 5" → "(-\infty, 2) \cup \{5\}"; "\{x \mid x > 3\}", "x \in (3, \infty)" likewise.
"""

from __future__ import annotations

import re

from evals.graders import notation
from evals.graders.pieces import joined

_ORDER = re.compile(r"(\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|[<>])")
_REALS = frozenset((r"\mathbb{r}", r"\mathbb r", r"\r", "all real numbers", "all reals", "the real numbers"))
_EMPTY = frozenset(
    ("no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set")
)
_LETTER = re.compile(r"[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi)")
_SIZE = re.compile(r"(?:\||\\[lr]?vert) ?(?:[A-Za-z]) ?(?:\||\\[lr]?vert) ?(<|\\le) ?(.+)", re.DOTALL)
_BUILT = re.compile(
    r"\\\{ ?(?:[A-Za-z]|\\theta)(?: ?\\in ?(?:\\R|\\mathbb ?\{? ?R ?\}?|R))?"
    r" ?(?:\\(?:mid|vert)(?![a-zA-Z])|[:|])(.+)\\\}",
    re.DOTALL,
)
_MEMBER = re.compile(r"(?:[A-Za-z]|\([A-Za-z](?: ?, ?[A-Za-z])*\)) ?\\in(?![a-zA-Z]) ?(.+)", re.DOTALL)
_TURNED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_UNBOUNDED = re.compile(r"\\infty(?![a-zA-Z])")


def as_interval(text: str) -> str:
    r"""An inequality in one letter as an interval: "x > 3" → "(3, \infty)", "|x| < 7" → "(-(7), 7)"; else itself."""
    said = notation.bare(text)
    if said in _REALS:
        return r"(-\infty, \infty)"
    if said in _EMPTY or re.fullmatch(r"\\\{ ?\\\}", text):
        return r"\emptyset"
    size = _SIZE.fullmatch(text)
    if size and not _ORDER.search(size[2]):
        return f"(-({size[2]}), {size[2]})" if size[1] == "<" else f"[-({size[2]}), {size[2]}]"
    parts = [part.strip() for part in _ORDER.split(text)]
    if len(parts) == 3 and _LETTER.fullmatch(parts[2]) and not _LETTER.fullmatch(parts[0]):
        parts = [parts[2], _TURNED[parts[1]], parts[0]]
    if len(parts) == 3 and _LETTER.fullmatch(parts[0]) and parts[2] and "=" not in text:
        low = parts[1] in (">", r"\ge")
        closed = parts[1] in (r"\le", r"\ge")
        if low:
            return f"{'[' if closed else '('}{parts[2]}, \\infty)"
        return f"(-\\infty, {parts[2]}{']' if closed else ')'}"
    if len(parts) == 5 and _LETTER.fullmatch(parts[2]) and parts[0] and parts[4] and "=" not in text:
        ups = [mark in ("<", r"\le") for mark in (parts[1], parts[3])]
        if ups[0] != ups[1]:
            return text
        if not ups[0]:
            parts = parts[::-1]
        opening = "[" if parts[1] in (r"\le", r"\ge") else "("
        closing = "]" if parts[3] in (r"\le", r"\ge") else ")"
        return f"{opening}{parts[0]}, {parts[4]}{closing}"
    return text


def as_union(text: str) -> str:
    r"""Inequalities and unbounded intervals joined by "or" as a union, two joined by "and" as what they share.

    Any other text as it is: "x < 2 and x > 3" is no union.
    """
    parts, words = joined(text)
    made = [as_interval(part) for part in parts]
    changed = [one != other for one, other in zip(made, parts, strict=True)]
    if any(changed):
        made = [_point(part) if one == part else one for one, part in zip(made, parts, strict=True)]
        changed = [one != other for one, other in zip(made, parts, strict=True)]
    if len(parts) > 1 and all(changed) and "and" in words:
        return _shared(made) or text
    unbounded = [notation.bracketed(part) is not None for part in parts]
    if len(parts) > 1 and (all(changed) or (all(unbounded) and any(map(_UNBOUNDED.search, parts)))):
        return r" \cup ".join(made)
    return text


def _point(text: str) -> str:
    """ "x = 5" as the set of that number; any other text as it is."""
    left, equals, right = text.partition("=")
    return rf"\{{{right.strip()}\}}" if equals and _LETTER.fullmatch(left.strip()) and right.strip() else text


def _shared(intervals: list[str]) -> str | None:
    """Of two rays the interval between them, as it is written: nothing is compared."""
    found = [notation.bracketed(one) for one in intervals]
    if len(found) != 2 or not all(found):
        return None
    ends = [(one[0], *notation.split(one[1], ","), one[2]) for one in found if one]
    low = next((one for one in ends if one[2] == r"\infty"), None)
    high = next((one for one in ends if one[1] == r"-\infty"), None)
    return f"{low[0]}{low[1]}, {high[2]}{high[3]}" if low and high else None


def member(text: str) -> str:
    r"""The set in "x \in [0, 1]", the condition in "\{x \mid x > 3\}"; the text itself where nothing like it stands."""
    match = _MEMBER.fullmatch(text)
    text = text if match is None else match[1].strip()
    built = _BUILT.fullmatch(text)
    return text if built is None else built[1].strip()
