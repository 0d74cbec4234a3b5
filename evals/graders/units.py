r"""What stands around a number and is no part of its value: units, currency signs, plain nouns.

    split(r"15\text{ cm}^2")   → Quantity("15", {"cm": 2}, plain=False)
    split("3 tenths")          → Quantity("3 tenths", None): that word changes the value, so it is no unit

A unit is a mapping from names to powers; other spellings of a unit have one name, and a noun that is no unit of measure
has a name of its own. Units are never converted: 50 mm is another answer than 5 cm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

Unit = Mapping[str, int]

_NAMES = """
mm millimeter millimetre | cm CM centimeter centimetre | dm decimeter decimetre | m meter metre
km Km KM kilometer kilometre | nm nanometer nanometre | μm um micron micrometer micrometre
in inch inches | ft foot feet | yd yard | mi mile
mg milligram | g gm gram gramme | kg Kg KG kilogram kilo | lb lbs pound | oz ounce | ton tonne
s sec second | ms millisecond | min minute | h hr hour | day | week wk | month | yr year
l L liter litre | ml mL milliliter millilitre | gal gallon | acre | hectare ha | pt pint | qt quart | cup
J joule | kJ kilojoule | cal calorie | W watt | kW kilowatt | N newton | Pa pascal | kPa | Hz hertz | V volt
A ampere amp | K kelvin | C coulomb | mol mole | eV | keV | MeV | GeV | erg | dyne | ohm \\Omega | T tesla
F farad | pc parsec | ly lightyear
Å angstrom | rad radian | deg degree | am AM a.m. a.m A.M. | pm PM p.m. p.m P.M.
$ dollar buck USD usd | ¢ cent | £ GBP | € euro EUR | ¥ yen | ₹ rupee Rs
mph | kph kmph kmh | rpm | bit | byte | sqft
"""
_CANON = {
    alias: names[0]
    for line in _NAMES.split("\n")
    for names in (entry.split() for entry in line.split("|"))
    if names
    for alias in names
}
_COMPOUND = {"mph": {"mi": 1, "h": -1}, "kph": {"km": 1, "h": -1}, "sqft": {"ft": 2}}
_MONEY = frozenset("$ ¢ £ € ¥ ₹".split())
_BEHIND_GAP = frozenset("mgsJNVWKLhl")
"""One-letter units: read as such only where a space parts them from the number; "5m" is five times m."""

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
STEMS = (
    "third four fif six seven eigh nin ten eleven twelf thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
_ORDINALS = {f"{stem}{'' if stem == 'third' else 'th'}{end}" for stem in STEMS for end in ("", "s")} | {
    f"{stem[:-1]}ieth{end}" for stem in TENS for end in ("", "s")
}
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
CHANGING = (
    frozenset(ONES)
    | frozenset(TENS)
    | frozenset(_ORDINALS)
    | frozenset(
        "half halves quarter quarters hundredth hundredths thousandth thousandths dozen dozens gross googol or "
        "and not no nor non than to from up until til till but except without plus minus times over under below "
        "above beneath beyond before after by mod modulo choose root roots power exponent squared cubed "
        "factorial factorials double triple twice thrice negative positive less fewer more least most "
        "greater smaller lower higher bigger larger older younger short off down away percent percentage pct "
        "permille remainder rem base pi sqrt ln log sin cos tan exp inverse reciprocal approximately about nearly "
        "almost roughly if is are was be when with at inclusive exclusive only excluding including rounded mixed "
        "repeating recurring".split()
    )
    | frozenset(SCALES)
)
"""Words behind a number that make it another one, or something else than a number."""
_SILENT = frozenset("of the a an each unit units total altogether".split())
_TOKEN = re.compile(
    r"(?P<text>\\(?:text|mathrm|mbox|textrm|textnormal|rm|operatorname) ?\{(?P<said>[^{}]*)\})"
    r"|(?P<word>[A-Za-zμÅ]+(?:\.[mM]\.?)?|\\Omega(?![a-zA-Z]))"
    r"|(?P<power>\^ ?(?:\{ ?(?P<braced>-?[0-9]) ?\}|(?P<digit>-?[0-9])))"
    r"|(?P<over>/)|(?P<times>\\cdot(?![a-zA-Z])|\\times(?![a-zA-Z])|\*)|(?P<degree>°)|(?P<money>[£€¥₹¢＄])"
    r"|(?P<space> +)"
    r"|(?P<other>\\[a-zA-Z]+|.)",
    re.DOTALL,
)
_KINDS = ("text", "word", "power", "over", "times", "degree", "money", "space", "other")
_ANGULAR = re.compile(r"(?<!arc)(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
"""Functions inside which a degree sign is a factor of π/180."""
_FRONT = re.compile(r"(?P<sign>[-+]?) ?(?:(?:US|AU|CA) ?)?(?P<money>[£€¥₹＄]|(?:Rs\.?|USD|EUR|GBP) ?(?=[0-9])) ?")


class Quantity(NamedTuple):
    """A text taken apart: `body` is what the unit belongs to, the whole text where there is no unit.

    plain: whether the unit is written in letters outside \\text, where it could as well be variables.
    """

    body: str
    unit: Unit | None
    plain: bool = False


def split(text: str, glued: bool = False) -> Quantity:
    """The unit of a normal text taken off, whether it stands in front (money) or behind.

    Behind something that is no number only known units count. glued: read "5m" as five metres.
    """
    front = _FRONT.match(text)
    if not front:
        return _behind(text, glued)
    rest = _behind(front["sign"] + text[front.end() :], glued)
    written = front["money"].strip(" .")
    name = "$" if written == "＄" else _CANON.get(written, written)
    others = rest.unit or {}
    if name not in others and any(_CANON.get(other) in _MONEY for other in others):
        return Quantity(text, None)
    return Quantity(rest.body, {**others, name: 1})


def _behind(text: str, glued: bool) -> Quantity:
    """The unit behind a text taken off; letters before the words of a text belong to the value ("2n moves")."""
    pieces = list(_TOKEN.finditer(text))
    kinds = [_kind(piece) for piece in pieces]
    start = len(kinds)
    while start and kinds[start - 1] != "other":
        start -= 1
    while start < len(kinds) and kinds[start] not in ("text", "word", "degree", "money"):
        start += 1
    found = _taken(text, pieces, kinds, start, glued)
    later = next((index for index in range(start + 1, len(kinds)) if kinds[index] == "text"), None)
    if found.unit is None and start < len(kinds) and kinds[start] == "word" and later is not None:
        return _taken(text, pieces, kinds, later, glued)
    return found


def _taken(text: str, pieces: list[re.Match[str]], kinds: list[str], start: int, glued: bool) -> Quantity:
    """What stands from the piece `start` on taken as a unit."""
    if (
        start in (0, len(kinds))
        or kinds[start - 1] in ("over", "times")
        or text[: pieces[start].start()].rstrip()[-1:] in tuple("=<>+-^_,(/")
    ):
        return Quantity(text, None)
    tail = pieces[start:]
    body, scale = text[: tail[0].start()], ""
    first = (tail[0]["said"] or tail[0]["word"] or "").split()
    if first and first[0].casefold() in SCALES and body.rstrip()[-1:].isdigit():
        scale = f" {first[0].casefold()}"
    unit = _unit(tail, skip=bool(scale))
    if unit is not None and ("am" in unit or "pm" in unit):
        body = body.rstrip().removesuffix(":00")  # seven o'clock
    numeric = body.rstrip()[-1:] in tuple("0123456789}!%.)")
    if unit is None or not body.strip() or (tail[0]["degree"] and _ANGULAR.search(body)):
        return Quantity(text, None)
    if scale and not unit and len(tail) == 1 and len(first) == 1:
        return Quantity(body.rstrip() + scale, None)
    plain = "word" in kinds[start:]
    if plain and not _plainly(tail, body, numeric, glued):
        return Quantity(text, None)
    return Quantity(body.rstrip() + scale, unit, plain)


def _kind(piece: re.Match[str]) -> str:
    return next(name for name in _KINDS if piece[name] is not None)


def _plainly(tail: list[re.Match[str]], body: str, numeric: bool, glued: bool) -> bool:
    """Whether words outside \\text can be a unit here."""
    written = [match["word"] for match in tail if match["word"]]
    known = all(
        name in _CANON or _stem(name) in _CANON or name in ("per", "square", "cubic", "sq", "cu", "squared")
        for name in written
    )
    gap = body.endswith(" ") or tail[0]["word"] is None
    if not numeric:
        return known and gap and all(len(name) > 1 for name in written)
    if any(
        len(name) == 1 and name not in "CF" and tail[0]["word"] == name and name not in _BEHIND_GAP for name in written
    ):
        return False
    if not gap:
        return known and (glued or len(written[0]) > 1)
    return known or (len(written) <= 3 and all(len(name) > 1 for name in written))


def _stem(word: str) -> str:
    """A word without its plural, in one case; symbols of one to three letters keep theirs."""
    if word in _CANON or len(word) <= 2:
        return word
    low = word.casefold()
    for end in ("", "s", "es"):
        if low.endswith(end) and low[: len(low) - len(end)] in _CANON and len(low) - len(end) > 2:
            return low[: len(low) - len(end)]
    return low.removesuffix("s") if len(low) > 3 else word


def _unit(tail: list[re.Match[str]], skip: bool) -> dict[str, int] | None:
    """Names and powers of a unit; None where a word in it changes the value. skip: leave the first word out."""
    unit: dict[str, int] = {}
    sign, factor, last = 1, 1, ""
    for match in tail:
        pieces: list[str] = []
        if match["said"] is not None:
            pieces = re.findall(
                r"[A-Za-zμÅ]+(?:\.m\.?)?|\^-?[0-9]|[/%$°0-9=<>]|[-–]", match["said"].replace("{", "").replace("}", "")
            )
        elif match["word"]:
            pieces = [match["word"]]
        elif match["power"]:
            pieces = ["^" + (match["braced"] or match["digit"])]
        elif match["degree"]:
            pieces = ["deg"]
        elif match["money"]:
            pieces = [{"＄": "$"}.get(match["money"], match["money"])]
        elif match["over"]:
            pieces = ["/"]
        for piece in pieces:
            if skip:
                skip = False
                continue
            low = piece.casefold()
            if piece in ("/",) or low == "per":
                sign = -1
            elif low in ("square", "sq", "cubic", "cu"):
                factor = 2 if low.startswith("s") else 3
            elif low in ("squared", "cubed") and last:
                unit[last] *= 2 if low == "squared" else 3
            elif piece[0] == "^" and last:
                unit[last] *= int(piece[1:])
                last = ""
            elif (
                piece[0] == "^"
                or piece in tuple("%0123456789=<>")
                or low in CHANGING
                or low.endswith(("illion", "illions"))
            ):
                return None
            elif low in _SILENT or piece in "-–":
                continue
            else:
                for name, power in _named(piece, last).items():
                    unit[name] = unit.get(name, 0) + power * factor * sign
                    last = name
                factor = 1
    return unit


def _named(word: str, before: str) -> dict[str, int]:
    stem = _stem(word)
    if before == "deg" and word in ("C", "F", "Celsius", "Fahrenheit", "celsius", "fahrenheit"):
        return {f"°{word[0].upper()}": 1}
    canon = _CANON.get(stem)
    return dict(_COMPOUND.get(canon or "", {canon or f"?{stem}": 1}))


def compatible(gold: Quantity, predicted: Quantity) -> bool:
    r"""Whether two units go together: the same, one of them not written, or nouns of which one says less.

    A gold answer whose unit stands outside \text is never met by the number alone.
    """
    if not predicted.unit:
        return not gold.plain
    if not gold.unit:
        return True
    first, second = dict(gold.unit), dict(predicted.unit)
    if "deg" in first and "deg" in second:
        scales = [{name for name in unit if name in ("°C", "°F")} for unit in (first, second)]
        return not (scales[0] and scales[1] and scales[0] != scales[1])
    nouns = [{name for name in unit if name.startswith("?")} for unit in (first, second)]
    known = [{name: power for name, power in unit.items() if not name.startswith("?")} for unit in (first, second)]
    if known[0] != known[1]:
        return False
    return bool(known[0]) or nouns[0] <= nouns[1] or nouns[1] <= nouns[0]
