"""Numbers in words: "twelve", "one hundred and five", "minus two thirds", "a dozen"."""

from __future__ import annotations

from fractions import Fraction

from evals.graders.units import ONES, SCALES, STEMS, TENS

MAX_WORDS = 16
_SMALL = {word: number for number, word in enumerate(ONES)} | {ten: 10 * number for number, ten in enumerate(TENS, 2)}
_PARTS = {"half": 2, "quarter": 4} | {
    f"{stem}{'' if stem == 'third' else 'th'}": number for number, stem in enumerate(STEMS, 3)
}


def read(text: str) -> Fraction | None:
    """The number that words say; None for other words. Single digits read out in a row are no number."""
    words = text.casefold().replace("-", " ").split()
    sign = -1 if words[:1] in (["negative"], ["minus"]) else 1
    words = words[sign < 0 :]
    if not 0 < len(words) <= MAX_WORDS:
        return None
    if words == ["half"]:
        return Fraction(sign, 2)
    part = _PARTS.get(words[-1]) or _PARTS.get(words[-1].removesuffix("s")) or (2 if words[-1] == "halves" else None)
    if part is not None and len(words) > 1:
        top = 1 if words[:-1] == ["a"] else _whole(words[:-1])
        return None if top is None else Fraction(sign * top, part)
    whole = _whole(words)
    return None if whole is None else Fraction(sign * whole)


def _whole(words: list[str]) -> int | None:
    """ "two thousand three hundred and five" → 2305: each scale smaller than the one before it."""
    total, below, last = 0, 0, 10**18
    fresh = True  # whether a number of one or two words may begin
    for index, word in enumerate(words):
        one = 1 if word in ("a", "an") and index == 0 and len(words) > 1 else _SMALL.get(word)
        if one is not None:
            joins = below % 100 in range(20, 100, 10) and 0 < one < 10
            if not (fresh or joins):
                return None
            below, fresh = below + one, False
        elif word == "hundred" and 0 < below < 100:
            below, fresh = 100 * below, True
        elif word in SCALES and word != "hundred" and below and SCALES[word] < last:
            last = SCALES[word]
            total, below, fresh = total + below * last, 0, True
        elif word != "and" or not index or index == len(words) - 1 or below % 100:
            return None
    return total + below
