r"""Answers as text: one spelling for what is typeset in many, and the pieces of a list, tuple, interval or union.

Everything here is linear (or nearly) in the length of its input, and never evaluates anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty "}
    | {
        "°": r"^\circ ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "∪": r"\cup ",
        "∈": r"\in ",
        "±": r"\pm ",
        "√": r"\sqrt ",
        "，": ",",
    }
    | {"\u00a0": " ", "\t": " ", "\n": " ", "\r": " "}
)
_DOLLAR = re.compile(r"\\?\$")
_SPACES = re.compile(r"(?<!\\)\\[,;: ]|\\q?quad(?![a-zA-Z])|~")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\! *|\{,\}|\\,)(?=[0-9]{3}(?![0-9]))")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![a-zA-Z])\.?|(?<!\\)\\[!()\[\]]")
_FRACTIONS = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_DEGREES = re.compile(r"(?:\{\})?\^ *(?:\{ *\\circ *\}|\\circ(?![a-zA-Z])|\{ *\\degree *\})|\\degree(?![a-zA-Z])")
_ANGULAR = re.compile(r"\\(?:a(?:rc)?)?(?:sin|cos|tan|cot|sec|csc)")
_UNIT = r"\\(?:text|mathrm|mbox|textrm|textnormal|rm|operatorname)\s*\{([^{}]*)\}(?:\s*\^\s*\{?-?[0-9]\}?)?"
_UNITS = re.compile(rf"(?<=[0-9A-Za-z)}}!%\]])\s*{_UNIT}(?:\s*(?:/|\\cdot|\\times)?\s*{_UNIT})*\s*$")
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm|textnormal|textbf|mathbf|textit|operatorname)\s*\{([^{}]*)\}")
_MEANING = re.compile(r"\b(?:or|and|not|no|million|billion|trillion|thousand|hundred|dozen)\b|[0-9=<>]", re.IGNORECASE)
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_NAME = re.compile(
    r"(?:[A-Za-z]|\\[a-zA-Z]+)(?: ?_ ?(?:[0-9A-Za-z]|\{[^{}]*\}))?'* ?(?:\( ?[A-Za-z0-9](?: ?, ?[A-Za-z0-9])* ?\))?"
)
_OPEN, _CLOSE = "([{", ")]}"


def unprintable(text: str) -> bool:
    """Whether a text holds control characters, lone surrogates or private characters: no answer has them."""
    return any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") and char not in "\t\n\r" for char in text)


def normal(text: str) -> str:
    r"""The text without math delimiters, sizes, thin spaces, currency and degree signs, in one spelling.

    "$\dfrac{1}{2}.$" → "\frac{1}{2}", "11,\! 111" → "11111", "90^\circ" → "90", "15\mbox{ cm}^2" → "15". The unit is
    dropped behind something, never alone, and only if it is not a word that changes the value ("million", "or").
    """
    text = "".join(char for char in text if unicodedata.category(char) != "Cf").translate(_SIGNS)
    text = _THOUSANDS.sub("", text)
    text = _SIZES.sub(" ", _DOLLAR.sub("", text))
    text = _FRACTIONS.sub(r"\\frac", _SPACES.sub(" ", text)).replace("np.arcsin", r"\arcsin ").replace(r"\%", "%")
    if not _ANGULAR.search(text):
        text = _DEGREES.sub("", text)
    text = " ".join(text.split()).rstrip("\\")
    if text.endswith((".", ",", ";")):
        text = text[:-1].rstrip()
    unit = _UNITS.search(text)
    if unit is not None and not any(_MEANING.search(word) for word in _TEXT.findall(unit.group())):
        text = text[: unit.start()]
    return text.strip()


def squeezed(text: str) -> str:
    """A normal text without spaces and without braces around single characters: equal ones are typeset alike."""
    return re.sub(r"\{([0-9A-Za-z])\}", r"\1", "".join(text.split()))


def words(text: str) -> str | None:
    r"""What \text{…} says where the whole answer is that: casefolded, without brackets. None for anything else."""
    match = _TEXT.fullmatch(text.strip())
    return None if match is None else bare(match.group(1))


def bare(text: str) -> str:
    r"""A text as plain words: \text{…} opened, casefolded, no brackets or end marks around it."""
    return " ".join(_TEXT.sub(r" \1 ", text).casefold().split()).strip("().:;,!? ")


def value(text: str) -> str:
    """What stands right of the last equals sign: "x = 5" → "5", "9 * 2 = 18" → "18".

    The text itself where there is none, and for an equation brought to the form "2x + y = 0".
    """
    first, *rest = _EQUALS.split(text)
    if not rest:
        return text
    last = rest[-1].strip()
    return text if last == "0" and re.search("[A-Za-z]", first) and named(text) is None else last


def named(text: str) -> tuple[str, str] | None:
    """(name, value) of "x = 5", "f(x) = 2x" or "a_{1} = 3"; None where no single name stands left of an equals sign."""
    name, *rest = _EQUALS.split(text)
    return (name.strip(), rest[-1].strip()) if rest and _NAME.fullmatch(name.strip()) else None


def split(text: str, separator: str) -> list[str]:
    """The text cut at `separator` outside all brackets; unbalanced brackets cut nothing after them."""
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        char = text[index]
        if depth == 0 and text.startswith(separator, index):
            parts.append(text[start:index].strip())
            index += len(separator)
            start = index
            continue
        if char == "\\" and index + 1 < len(text) and text[index + 1] not in "{}":
            index += 2
            continue
        depth = max(depth + (char in _OPEN) - (char in _CLOSE), 0)
        index += 1
    return [*parts, text[start:].strip()]


def bracketed(text: str) -> tuple[str, str, str] | None:
    r"""(opening, content, closing) of a text that is one bracket from end to end, "(3, 4]" or "\{1, 2\}"; else None."""
    text = text.strip()
    for opening, closings in ((r"\{", (r"\}",)), ("(", (")", "]")), ("[", (")", "]"))):
        if not text.startswith(opening):
            continue
        depth = 0
        for index, char in enumerate(text):
            depth += (char in _OPEN) - (char in _CLOSE)
            if depth == 0 and index:
                found = next((end for end in closings if text.endswith(end) and index == len(text) - 1), None)
                inside = text[len(opening) : len(text) - len(found)].strip() if found else ""
                return (opening, inside, found) if found else None
    return None


def signs(text: str) -> Iterator[str]:
    r"""Both readings of a text with one \pm, the plus first; the text itself where there is none or several."""
    if len(re.findall(r"\\pm(?![a-zA-Z])", text)) == 1:
        for sign in "+-":
            yield re.sub(r"\\pm(?![a-zA-Z])", sign, text).strip()
    else:
        yield text


def based(text: str) -> tuple[str, str] | None:
    """(digits, base) of a number with its base as an index, 52_8 or 52_{8}; None for anything else."""
    match = re.fullmatch(r"([0-9A-Fa-f]+) ?_ ?(?:\{ ?([0-9]{1,2}) ?\}|([0-9]))", text)
    return None if match is None else (match.group(1).upper(), match.group(2) or match.group(3))


def member(text: str) -> str:
    r"""The set in "x \in [0, 1]"; the text itself where nothing like it stands there."""
    match = re.fullmatch(r"[A-Za-z] ?\\in(?![a-zA-Z]) ?(.+)", text)
    return text if match is None else match.group(1)
