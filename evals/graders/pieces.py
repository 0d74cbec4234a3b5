r"""The pieces of an answer: what commas and joining words part, and tuples."""

from __future__ import annotations

import re

from evals.graders import notation

_GROUPED = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_JOINING = re.compile(r"\\text ?\{ ?,? ?(?:and|or) ?\}|,? (?:and|or) |;|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")
_VARIABLE = re.compile(r"[A-Za-z] ?|\\[a-z]+ ?")


def commas(text: str, several: bool) -> bool:
    """Whether a text is a list by its commas: "3, 5" is, "1,234" is a number unless the problem has several answers."""
    parts = notation.split(text, ",")
    return len(parts) > 1 and not (_GROUPED.fullmatch(text.lstrip("+-")) and not several)


def entries(text: str, several: bool) -> list[str]:
    """The text cut at "and", "or", ";" and its commas, outside all brackets.

    A comma before three digits groups thousands where the answer is one number, and in a list whose entries are parted
    otherwise: "2,500 and 7,500", "2,500, 7,500". Of "120,240" it parts two answers, if the problem has several.
    """
    parts = joined(text)[0]
    apart = len(parts) > 1 or not several or ", " in text
    if _GROUPED.search(text) and apart and not re.search(",(?! )", _GROUPED.sub("", text)):
        parts = [_GROUPED.sub(lambda match: match[0].replace(",", "\x01"), part) for part in parts]
    return [entry.replace("\x01", ",") for part in parts for entry in notation.split(part, ",")]


def joined(text: str) -> tuple[list[str], set[str]]:
    """The text cut at joining words and semicolons outside all brackets, and the words at which it was cut."""
    parts, words, start, scanned, depth = [], set(), 0, 0, 0
    for match in _JOINING.finditer(text):
        between = text[scanned : match.start()]
        depth = max(depth + sum((char in "([{") - (char in ")]}") for char in between), 0)
        scanned = match.end()
        if depth == 0:
            parts.append(text[start : match.start()].strip())
            words.add("and" if "and" in match[0] else "or" if "or" in match[0] else ";")
            start = match.end()
    return [*parts, text[start:].strip()], words


def tuple_value(text: str) -> str:
    """The tuple in "(x, y) = (1, 2)" and "A = (1, 2)"; the text itself where there is no such name."""
    left, equals, right = text.partition("=")
    named = re.fullmatch(r"[A-Za-z]|\( ?[A-Za-z\\]+(?: ?, ?[A-Za-z\\]+)+ ?\)", left.strip())
    return right.strip() if equals and "=" not in right and named and right.strip().startswith(("(", "[")) else text


def by_names(text: str, several: bool) -> str:
    r""" "x = 1, y = 2" as the tuple "(1, 2)", in the order of the names (as written where one is Greek: r, \theta).

    Any other text as it is.
    """
    found = entries(text, several)
    named = [one for one in map(notation.named, found) if one is not None and _VARIABLE.fullmatch(one[0])]
    if len(named) < 2 or len(named) != len(found) or len({name.strip() for name, _ in named}) != len(named):
        return text
    ordered = named if any(name.startswith("\\") for name, _ in named) else sorted(named)
    return f"({', '.join(value for _, value in ordered)})"
