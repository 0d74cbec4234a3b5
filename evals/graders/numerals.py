r"""Numbers as people write them, read exactly: 1,234 · -3/4 · \frac43 · 1\frac45 · 4.5e33 · 4 \times 10^{33} · 62%."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 120
MAX_EXPONENT = 400
DEFAULT_TOLERANCE = Fraction(1, 10**6)

_PLAIN = r"(?:[0-9]{1,3}(?:[, ][0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_POWER = r"10 ?\^ ?(?:\{ ?(?P<power>[+-]? ?[0-9]{1,4}) ?\}|(?P<digit>[0-9]))"
_DECIMAL = re.compile(rf"(?P<plain>{_PLAIN})(?: ?[eE](?P<e>[+-]?[0-9]{{1,4}})| ?(?:\\times|\\cdot|\*|x) ?{_POWER})?")
_TEN = re.compile(_POWER)
_SIDE = r"(?:\{{ ?(?P<{0}>[+-]? ?[0-9]+(?:\.[0-9]*)?) ?\}}| ?(?P<{0}1>[0-9]))"
_FRAC = re.compile(rf"(?P<whole>[0-9]+ ?)?\\frac ?{_SIDE.format('top')} ?{_SIDE.format('low')}")
_SLASH = re.compile(rf"(?:(?P<whole>[0-9]+) )?(?P<top>{_PLAIN}) ?/ ?(?P<low>{_PLAIN})")
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = re.compile(
    r"(?<=[0-9}.]) ?(?:\\text ?\{)? ?(?P<words>[A-Za-z]{2,}(?: [A-Za-z]{2,}){0,2}) ?\}?$|(?<=[0-9]) [mgsJNVWK]$"
)
_NO_UNITS = frozenset("or and not no to plus minus times pi sqrt ln log sin cos tan exp dozen half percent".split())


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number and how it was written: `decimal` with a point or an exponent, `percent` with a percent sign."""

    value: Fraction
    decimal: bool
    percent: bool


def read(text: str) -> Numeral | None:
    """The number that a normal text (see notation.normal) is, a unit in plain words dropped; None if it is none."""
    if len(text) > MAX_CHARACTERS:
        return None
    text, percent = text.strip().strip("{}").strip() if text.startswith("{") else text.strip(), False
    scale = Fraction(1)
    if text.lower().endswith(("percent", "%")):
        text, percent = re.sub(r"(?i) ?(?:%|percent)$", "", text).rstrip(), True
    unit = _WORDS.search(text)
    if unit is not None:
        named = (unit["words"] or "").lower().split()
        if _NO_UNITS.intersection(named):
            return None
        if named and named[0] in _SCALES:
            scale = Fraction(_SCALES[named[0]])
        elif set(named) & set(_SCALES):
            return None
        text = text[: unit.start()]
    sign = 1
    while text[:1] in ("+", "-"):
        sign, text = (-sign if text[0] == "-" else sign), text[1:].lstrip()
        if sign < 0 or text[:1] not in ("+", "-"):
            break
    found = _unsigned(text)
    return None if found is None else Numeral(sign * scale * found[0], found[1], percent)


def _unsigned(text: str) -> tuple[Fraction, bool] | None:
    if match := _DECIMAL.fullmatch(text):
        power = match["e"] or match["power"] or match["digit"]
        return _scaled(_plain(match["plain"]), power, "." in match["plain"] or power is not None)
    if match := _TEN.fullmatch(text):
        return _scaled(Fraction(1), match["power"] or match["digit"], False)
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
    if _close(first.value, second.value, decimal, rel_tol, abs_tol):
        return True
    if first.percent == second.percent:
        return False
    a, b = (one.value / 100 if one.percent else one.value for one in (first, second))
    return _close(a, b, decimal, rel_tol, None if abs_tol is None else abs_tol / 100)


def _close(a: Fraction, b: Fraction, decimal: bool, rel_tol: Fraction | None, abs_tol: Fraction | None) -> bool:
    if a == b or (abs_tol is not None and abs(a - b) <= abs_tol):
        return True
    if not decimal:
        return False
    size = max(abs(a), abs(b))
    return abs(a - b) <= (DEFAULT_TOLERANCE * min(size, Fraction(1)) if rel_tol is None else rel_tol * size)
