r"""The pieces of an answer: what a comma parts, intervals written as inequalities, the entries of a matrix."""

from __future__ import annotations

import re

from evals.graders import notation

_GROUPED = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_JOINING = re.compile(r"\\text ?\{ ?,? ?(?:and|or) ?\}|,? (?:and|or) |;|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")
_ORDER = re.compile(r"(\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|[<>])")
_REALS = frozenset((r"\mathbb{r}", r"\mathbb r", r"\r", "all real numbers", "all reals", "the real numbers"))
_LETTER = re.compile(r"[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi)")
_MATRIX = re.compile(
    r"(-?)\\begin ?\{([pbB]?)(?:matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end ?\{[pbB]?(?:matrix|array)\}", re.DOTALL
)


def commas(text: str, several: bool) -> bool:
    """Whether a text is a list by its commas: "3, 5" is, "1,234" is a number unless the problem has several answers."""
    parts = notation.split(text, ",")
    return len(parts) > 1 and not (_GROUPED.fullmatch(text.lstrip("+-")) and not several)


def entries(text: str, several: bool) -> list[str]:
    """The text cut at "and", "or", ";" and its commas, outside all brackets.

    A comma before three digits groups thousands where the answer is one number, and in a list whose entries are parted
    otherwise: "2,500 and 7,500", "2,500, 7,500". Of "120,240" it parts two answers, if the problem has several.
    """
    parts = _joined(text)
    apart = len(parts) > 1 or not several or ", " in text
    if _GROUPED.search(text) and apart and not re.search(",(?! )", _GROUPED.sub("", text)):
        parts = [_GROUPED.sub(lambda match: match[0].replace(",", "\x01"), part) for part in parts]
    return [entry.replace("\x01", ",") for part in parts for entry in notation.split(part, ",")]


def _joined(text: str) -> list[str]:
    """The text cut at joining words and semicolons."""
    return notation.split(_JOINING.sub("\x00", text), "\x00")


def as_interval(text: str) -> str:
    r"""An inequality in one letter as an interval: "x > 3" → "(3, \infty)", "-2 < x \le 7" → "(-2, 7]"; else itself."""
    if notation.bare(text) in _REALS:
        return r"(-\infty, \infty)"
    parts = [part.strip() for part in _ORDER.split(text)]
    if len(parts) == 3 and _LETTER.fullmatch(parts[2]) and not _LETTER.fullmatch(parts[0]):
        parts = [parts[2], {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}[parts[1]], parts[0]]
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
    r"""Inequalities joined by "or" as a union of intervals; any other text as it is."""
    parts = _joined(text)
    made = [as_interval(part) for part in parts]
    if len(parts) > 1 and all(one != other for one, other in zip(made, parts, strict=True)):
        return r" \cup ".join(made)
    return text


def tuple_value(text: str) -> str:
    """The tuple in "(x, y) = (1, 2)" and "A = (1, 2)"; the text itself where there is no such name."""
    left, equals, right = text.partition("=")
    named = re.fullmatch(r"[A-Za-z]|\( ?[A-Za-z\\]+(?: ?, ?[A-Za-z\\]+)+ ?\)", left.strip())
    return right.strip() if equals and "=" not in right and named and right.strip().startswith(("(", "[")) else text


def by_names(text: str, several: bool) -> str:
    """ "x = 1, y = 2" as the tuple "(1, 2)", in the order of the names; any other text as it is."""
    named = [one for one in map(notation.named, entries(text, several)) if one is not None and len(one[0]) == 1]
    if len(named) < 2 or len(named) != len(entries(text, several)) or len({name for name, _ in named}) != len(named):
        return text
    return f"({', '.join(value for _, value in sorted(named))})"


def matrix(text: str) -> list[list[str]] | None:
    r"""The rows of a matrix or column vector, whatever its brackets; None for another text or a determinant."""
    match = _MATRIX.fullmatch(text.strip())
    if match is None or r"\begin" in match[3]:
        return None
    rows = [row.strip() for row in match[3].split(r"\\")]
    cells = [[cell.strip() for cell in row.split("&")] for row in rows if row]
    return [[f"-({cell})" if match[1] else cell for cell in row] for row in cells] if cells else None
