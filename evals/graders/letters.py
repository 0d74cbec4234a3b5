r"""Multiple choice: the letter in the box, however it is dressed: C, (c), \textit{C}, "Option C", "C - 1/3", its text.

A text behind the letter must not be the text of another choice, nor name a second letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_uppercase

from evals.graders import notation

_FONTS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|boldsymbol|bm|bf|it|rm|emph|underline|boxed|fbox|mbox|left|right)(?![a-zA-Z])"
)
_BEFORE = re.compile(
    r"(?:the )?(?:(?:final |correct |right )?(?:answer|option|choice|letter)(?: is| =|:)? ?)+", re.IGNORECASE
)
_LETTER = re.compile(r"[(\[]? ?([A-Za-z]) ?[)\]]? ?[-.:;,)]?")
_LED = re.compile(
    r"(?:[(\[] ?([A-Za-z]) ?[)\]](?: ?[.:;,)=]| ?-(?= ))?|([A-Za-z]) ?(?:[.:;)=]|-(?!-))) ?(.+)", re.DOTALL
)
_JOINED = re.compile(r"(?:and|or|nor|not)(?![a-zA-Z])|[&/,]", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}")
_SAID = frozenset(
    "yes no true false even odd east west north south none all both neither never always undefined".split()
)


def letter(text: str, choices: list[str]) -> str | None:
    """The letter that an answer names, A for the first choice; None where it names none or more than one."""
    letters = ascii_uppercase[: len(choices)] or ascii_uppercase
    plain = _plain(text)
    said = _squeezed(text)
    matches = [here for here, choice in zip(letters, choices, strict=False) if _squeezed(choice) == said]
    match = _LETTER.fullmatch(plain)
    if match and match[1].upper() in letters:
        return match[1].upper()
    return matches[0] if len(matches) == 1 else _led(plain, letters, choices)


def _led(plain: str, letters: str, choices: list[str]) -> str | None:
    """The letter in front of a text: "C. Cyclic AMP", or the letter and its own choice with nothing between them."""
    match = _LED.fullmatch(plain)
    if match:
        found, rest = (match[1] or match[2]).upper(), match[3].strip()
    elif len(plain) > 2 and plain[1] == " ":
        found, rest = plain[0].upper(), plain[2:].strip()
        if found not in letters or not choices or _squeezed(rest) != _squeezed(choices[letters.index(found)]):
            return None
    else:
        return None
    second = _LETTER.fullmatch(rest)
    if found not in letters:
        return None
    own = choices[letters.index(found)] if choices else None
    if own is not None and _squeezed(rest) == _squeezed(own):
        return found
    others = any(_squeezed(choice) == _squeezed(rest) for choice in choices)
    return None if others or _JOINED.match(rest) or (second and second[1].upper() in letters) else found


def _plain(text: str) -> str:
    text = _FONTS.sub(" ", text.replace("$", " ").replace("**", " ").replace("__", " ").replace("~", " "))
    text = text.replace("\\ ", " ").replace("{", " ").replace("}", " ")
    text = " ".join(text.translate({ord(dash): "-" for dash in "–—−‐‑"}).split()).strip("`*_ ")
    text = text.removeprefix("\\").strip()
    before = _BEFORE.match(text)
    return text[before.end() :].strip() if before and before.end() < len(text) else text


def _squeezed(text: str) -> str:
    """Without what another way to typeset it may add: spaces, braces, dollars, fonts."""
    return re.sub(r"[\s{}$\\＄]", "", notation.bare(_FONTS.sub(" ", text)))


def plain_word(text: str) -> bool:
    """Whether a text outside \\text is a word and no product of letters: "Yes", "even"."""
    return text.casefold() in _SAID and _WORD.fullmatch(text) is not None


def read_choices(meta: Mapping[str, object]) -> list[str]:
    """The texts of the choices, as the layouts write them."""
    given = meta.get("choices")
    return [str(choice) for choice in given] if isinstance(given, list) else []


def equal(gold: str, predicted: str, meta: Mapping[str, object]) -> tuple[bool, str | None]:
    """Whether `predicted` names the letter that `gold` names, and why not where it names none."""
    choices = read_choices(meta)
    found = letter(predicted, choices)
    if found is None:
        return False, "the answer is not one of the letters"
    return found == letter(gold, choices), None
