r"""Numbers as people write them, read exactly: 1,234 · -3/4 · \frac43 · 1\frac45 · 4.5e33 · 4 \times 10^{33} · 62%."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from evals.graders import spelled
from evals.graders.units import SCALES

MAX_CHARACTERS = 120
MAX_EXPONENT = 400
DEFAULT_TOLERANCE = Fraction(1, 10**6)

_PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_POWER = r"10 ?\^ ?(?:\{ ?(?P<power>[+-]? ?[0-9]{1,4}) ?\}|(?P<digits>[+-]?[0-9]{1,4}))"
_DECIMAL = re.compile(rf"(?P<plain>{_PLAIN})(?: ?[eE](?P<e>[+-]?[0-9]{{1,4}})| ?(?:\\times|\\cdot|\*|x) ?{_POWER})?")
_TEN = re.compile(_POWER)
_SIDE = r"(?:\{{ ?(?P<{0}>[+-]? ?[0-9]+(?:\.[0-9]*)?) ?\}}| ?(?P<{0}1>[0-9]))"
_FRAC = re.compile(rf"(?P<whole>[0-9]+ ?)?\\frac ?{_SIDE.format('top')} ?{_SIDE.format('low')}")
_SLASH = re.compile(rf"(?:(?P<whole>[0-9]+) )?(?P<top>{_PLAIN}) ?/ ?(?P<low>{_PLAIN})")
_PERCENT = re.compile(r"(?:\\text ?\{ ?(?:percent|per cent|%) ?\}|percent|per cent|%)$", re.IGNORECASE)
_SCALE = re.compile(rf"[0-9] ?(?:\\text ?\{{ ?)?(?P<name>{'|'.join(SCALES)})s? ?\}}?$", re.IGNORECASE)
_WORDS = re.compile(r"(?:\\(?:text|mathrm|mbox|textrm) ?\{ ?)?([A-Za-z]+(?:[ -][A-Za-z]+)*) ?\}?")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number and how it was written: `decimal` with a point or an exponent, `percent` with a percent sign."""

    value: Fraction
    decimal: bool
    percent: bool


@lru_cache(maxsize=4096)
def read(text: str) -> Numeral | None:
    """The number that a normal text without its unit is (see notation.normal, units.split); None if it is none."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = text.strip()
    if text.startswith(("{", "(")) and text.endswith(("}", ")")) and not re.search(r"[(){}]", text[1:-1]):
        text = text[1:-1].strip()
    words = _WORDS.fullmatch(text)
    if words:
        said = spelled.read(words[1])
        return None if said is None else Numeral(said, decimal=False, percent=False)
    percent = _PERCENT.search(text)
    text = text[: percent.start()].rstrip() if percent else text
    scale = _SCALE.search(text)
    text = text[: scale.start() + 1] if scale else text
    sign = 1
    while text[:1] in ("+", "-"):
        sign, text = (-sign if text[0] == "-" else sign), text[1:].lstrip()
        if sign < 0 or text[:1] not in ("+", "-"):
            break
    found = _unsigned(text)
    if found is None:
        return None
    return Numeral(sign * found[0] * (SCALES[scale["name"].lower()] if scale else 1), found[1], percent is not None)


def _unsigned(text: str) -> tuple[Fraction, bool] | None:
    if match := _DECIMAL.fullmatch(text):
        power = match["e"] or match["power"] or match["digits"]
        return _scaled(_plain(match["plain"]), power, "." in match["plain"] or power is not None)
    if match := _TEN.fullmatch(text):
        return _scaled(Fraction(1), match["power"] or match["digits"], False)
    match = _FRAC.fullmatch(text) or _SLASH.fullmatch(text)
    if match is None:
        return None
    sides = match.groupdict()
    top = _plain(sides["top"] or sides["top1"] or "")
    low = _plain(sides["low"] or sides["low1"] or "")
    if low == 0 or (match["whole"] and not 0 < top < low):
        return None
    return (_plain(match["whole"]) if match["whole"] else 0) + top / low, "." in text


def _plain(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").removesuffix("."))


def _scaled(number: Fraction, power: str | None, decimal: bool) -> tuple[Fraction, bool] | None:
    exponent = int((power or "0").replace(" ", ""))
    return None if abs(exponent) > MAX_EXPONENT else (number * Fraction(10) ** exponent, decimal)


def equal(first: Numeral, second: Numeral, *, rel_tol: Fraction | None = None, abs_tol: Fraction | None = None) -> bool:
    """|a − b| ≤ t, symmetric in its two numbers; t = 0 for two numbers written without point or exponent.

    Else t = 1e-6 · min(1, max(|a|, |b|)), so that decimals agree to six places and small numbers to six digits; with
    rel_tol instead t = rel_tol · max(|a|, |b|). abs_tol is a second way to be equal. A percent sign on one side may
    stand for a hundredth or be left off; abs_tol is then a hundredth, too.
    """
    decimal = first.decimal or second.decimal
    if close(first.value, second.value, decimal, rel_tol, abs_tol):
        return True
    if first.percent == second.percent:
        return False
    a, b = (one.value / 100 if one.percent else one.value for one in (first, second))
    return close(a, b, decimal, rel_tol, None if abs_tol is None else abs_tol / 100)


def close(a: Fraction, b: Fraction, decimal: bool, rel_tol: Fraction | None, abs_tol: Fraction | None) -> bool:
    """The rule of `equal` for two values, `decimal` where one of them was written with a point or an exponent."""
    if a == b or (abs_tol is not None and abs(a - b) <= abs_tol):
        return True
    if not decimal:
        return False
    size = max(abs(a), abs(b))
    return abs(a - b) <= (DEFAULT_TOLERANCE * min(size, Fraction(1)) if rel_tol is None else rel_tol * size)
