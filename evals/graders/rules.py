r"""When a predicted answer equals the gold answer: decided here as far as text and exact numbers go.

An answer is taken apart first: lists ("3, 5, 7", "x = 1 or x = 2", "1 \pm \sqrt{2}") are compared as multisets, unions
likewise, tuples and intervals entry by entry and with their brackets. What remains is compared as numbers, then as
words, then, if it is neither, by a `Symbolic` (math-verify, in a process of its own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from evals.graders import notation, numerals

Symbolic = Callable[[str, str, Fraction | None], bool]
"""(gold, predicted, relative tolerance or None) → whether they are equal as mathematics. ValueError: unreadable."""


class NeedsSymbolic(Exception):
    """The texts alone do not decide; ask again with a Symbolic."""


def undecided(gold: str, predicted: str, rel_tol: Fraction | None) -> bool:
    """The Symbolic of a process that must not evaluate anything."""
    raise NeedsSymbolic


@dataclass(frozen=True, slots=True)
class Rules:
    """How two answers are compared.

    rel_tol and abs_tol are tolerances for decimals; unordered: the entries of a bracket may come in any order; percent:
    the gold answer is a percentage though no sign is written; by_text: two texts that are typeset alike are equal, even
    where nothing can read them.
    """

    symbolic: Symbolic
    rel_tol: Fraction | None = None
    abs_tol: Fraction | None = None
    unordered: bool = False
    percent: bool = False
    by_text: bool = True

    @staticmethod
    def of(meta: Mapping[str, Any], symbolic: Symbolic, by_text: bool = True) -> Rules:
        """The rules that a problem's meta asks for."""
        rel, absolute = meta.get("rel_tol"), meta.get("abs_tol")
        return Rules(
            symbolic,
            rel_tol=None if rel is None else Fraction(str(rel)),
            abs_tol=None if absolute is None else Fraction(str(absolute)),
            unordered=bool(meta.get("several")) and meta.get("type") == "Numerical",
            percent="%" in (meta.get("unit") or ""),
            by_text=by_text,
        )

    def equal(self, gold: str, predicted: str) -> bool:
        """Whether `predicted` is the answer `gold`, both as found in a box or a data set."""
        gold, predicted = notation.normal(gold), notation.normal(predicted)
        if self.percent and numerals.read(gold) is not None:
            gold = gold.removesuffix("%") + "%"
        if self.by_text and gold and notation.squeezed(gold) == notation.squeezed(predicted):
            return True
        if not gold or not predicted:
            return False
        decided = self._numbers(gold, predicted)
        return self._lists(gold, predicted) if decided is None else decided

    def _numbers(self, gold: str, predicted: str) -> bool | None:
        first = numerals.read(notation.value(gold))
        second = None if first is None else numerals.read(notation.value(predicted))
        if first is None or second is None:
            return None
        names = [name[0] for name in (notation.named(gold), notation.named(predicted)) if name]
        if len(names) == 2 and names[0] != names[1] and all(len(name) == 1 for name in names):
            return False  # x = 5 is another line than y = 5; longer names are spelt in many ways
        return numerals.equal(first, second, rel_tol=self.rel_tol, abs_tol=self.abs_tol)

    def _lists(self, gold: str, predicted: str) -> bool:
        return _matched(self._entries(gold), self._entries(predicted), self._unions)

    def _entries(self, text: str) -> list[str]:
        """The entries of a list, one entry for anything else."""
        inside = notation.bracketed(text)
        if inside is not None and (inside[0] == r"\{" or (self.unordered and inside[0] == "(")):
            text = inside[1]
        parts = [text]
        for separator in (r"\text{ and }", r"\text{ or }", r"\text{and}", r"\text{or}", " and ", " or ", ";", ","):
            parts = [entry for part in parts for entry in notation.split(part, separator)]
        return [sign for part in parts if part for sign in notation.signs(part)] or [text]

    def _unions(self, gold: str, predicted: str) -> bool:
        golds, predictions = (notation.split(notation.member(text), r"\cup") for text in (gold, predicted))
        return _matched(golds, predictions, self._entry)

    def _entry(self, gold: str, predicted: str) -> bool:
        """One entry: a tuple or interval by its entries, else a number, words, or an expression."""
        if self.by_text and notation.squeezed(gold) == notation.squeezed(predicted):
            return True
        one, other = notation.bracketed(gold), notation.bracketed(predicted)
        if one is not None and other is not None:
            golds, predictions = notation.split(one[1], ","), notation.split(other[1], ",")
            if len(golds) > 1 or len(predictions) > 1:
                alike = (one[0], one[2]) == (other[0], other[2]) and len(golds) == len(predictions)
                return alike and all(map(self._entry, golds, predictions))
        decided = self._numbers(gold, predicted)
        return self._expression(gold, predicted) if decided is None else decided

    def _expression(self, gold: str, predicted: str) -> bool:
        told = notation.words(gold)
        if told is not None:
            return told == notation.bare(predicted)
        based = [notation.based(text) for text in (gold, predicted)]
        if any(based):
            return based[0] == based[1]
        return self._algebra(gold, predicted)

    def _algebra(self, gold: str, predicted: str) -> bool:
        """Expressions; a name on one side only ("f(x) = 2x" and "2x"), or the same on both, is no part of them."""
        one, other = notation.named(gold), notation.named(predicted)
        if one is not None and other is not None:
            if notation.squeezed(one[0]) == notation.squeezed(other[0]):
                return self._entry(one[1], other[1])
        elif ("=" in gold) != ("=" in predicted):
            sides = notation.value(gold), notation.value(predicted)
            return not any("=" in side for side in sides) and self._entry(*sides)
        return self.symbolic(gold, predicted, self.rel_tol)


def _matched(golds: Sequence[str], predictions: Sequence[str], equal: Callable[[str, str], bool]) -> bool:
    """Whether the two are one multiset under `equal`, which is taken to be an equivalence."""
    if len(golds) != len(predictions):
        return False
    left = list(predictions)
    for gold in golds:
        match = next((index for index, entry in enumerate(left) if equal(gold, entry)), None)
        if match is None:
            return False
        del left[match]
    return True
