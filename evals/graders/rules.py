r"""When a predicted answer equals the gold answer.

An answer is taken apart first: lists ("3, 5, 7", "x = 1 or x = 2", "1 \pm \sqrt{2}") are compared as multisets, unions
likewise, tuples, intervals and matrices entry by entry and with their brackets. What remains is compared as numbers and
their units, then as words, then, if it is neither, by a `Symbolic` (see evals.graders.symbolic).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from evals.graders import bases, letters, matrices, names, notation, numerals, pieces, sets, units
from evals.graders.units import Quantity

Symbolic = Callable[[str, str, Fraction | None], bool]
"""(gold, predicted, relative tolerance or None) → whether they are equal as mathematics. ValueError: unreadable."""

MAX_ENTRIES = 200
"""Lists longer than this are equal only as texts."""


class NeedsSymbolic(Exception):
    """The texts alone do not decide; ask again with a Symbolic."""


def undecided(gold: str, predicted: str, rel_tol: Fraction | None) -> bool:
    """The Symbolic of a process that must not evaluate anything."""
    raise NeedsSymbolic


@dataclass(frozen=True, slots=True)
class Rules:
    """How two answers are compared.

    rel_tol and abs_tol are tolerances for decimals; several: the gold answer is a list, so a comma parts its answers;
    unordered: the entries of a bracket may come in any order; unit: that of the gold answer where the data state it
    apart; by_text: two texts that are typeset alike are equal, even where nothing can read them.
    """

    symbolic: Symbolic
    rel_tol: Fraction | None = None
    abs_tol: Fraction | None = None
    several: bool = False
    unordered: bool = False
    unit: str = ""
    by_text: bool = True

    @staticmethod
    def of(meta: Mapping[str, object], symbolic: Symbolic, by_text: bool = True) -> Rules:
        """The rules that a problem's meta asks for."""
        rel, absolute = meta.get("rel_tol"), meta.get("abs_tol")
        return Rules(
            symbolic,
            rel_tol=None if rel is None else Fraction(str(rel)),
            abs_tol=None if absolute is None else Fraction(str(absolute)),
            several=bool(meta.get("several")),
            unordered=bool(meta.get("several")) and meta.get("type") == "Numerical",
            unit=notation.normal(str(meta.get("unit") or "")),
            by_text=by_text,
        )

    def equal(self, gold: str, predicted: str) -> bool:
        """Whether `predicted` is the answer `gold`, both as found in a box or a data set."""
        gold, predicted = notation.normal(gold), notation.normal(predicted)
        if "%" in self.unit and numerals.read(gold) is not None:
            gold = gold.removesuffix("%") + "%"
        if self.by_text and gold and notation.squeezed(gold) == notation.squeezed(predicted):
            return True
        if not gold or not predicted:
            return False
        exact, rounded = names.approximated(predicted)
        if rounded and not names.approximated(gold)[1]:
            return self.equal(gold, exact) or self.equal(gold, rounded)
        told = notation.words(gold)
        if told is not None and names.listed(told) == names.listed(notation.bare(predicted)):
            return True
        single = not any(pieces.commas(text, self.several) for text in (gold, predicted))
        decided = self._numbers(gold, predicted) if single else None
        return self._lists(gold, predicted) if decided is None else decided

    def _numbers(self, gold: str, predicted: str) -> bool | None:
        """Two numbers with their units; None where one of them is something else."""
        first, second = self._quantity(gold), units.split(notation.value(predicted))
        one = numerals.read(first.body)
        other = None if one is None else numerals.read(second.body)
        if one is not None and one.value == 0 and names.vanishing(predicted):
            return True
        if one is None or other is None:
            return None
        called = [name[0] for name in (notation.named(gold), notation.named(predicted)) if name]
        if len(called) == 2 and called[0] != called[1] and all(len(name) == 1 for name in called):
            return False  # x = 5 is another line than y = 5; longer names are spelt in many ways
        if not units.compatible(first, second) or (first.unit and other.percent and not one.percent):
            return False
        if other.percent and not one.percent and abs(one.value) < 1:  # 0.5% is no spelling of 0.5
            other = replace(other, value=other.value / 100, percent=False)
        return numerals.equal(one, other, rel_tol=self.rel_tol, abs_tol=self.abs_tol)

    def _quantity(self, gold: str) -> Quantity:
        """The gold answer and its unit, written with it or apart."""
        found = units.split(notation.value(gold))
        if found.unit is None and self.unit:
            apart = units.split("1 " + self.unit if self.unit.startswith("\\") else f"1 \\text{{{self.unit}}}")
            return Quantity(found.body, apart.unit)
        return found

    def _lists(self, gold: str, predicted: str) -> bool:
        joined = [sets.as_union(sets.member(text)) for text in (gold, predicted)]
        brackets = [notation.bracketed(text) for text in joined]
        if any(brackets) and not all(brackets):
            joined = [pieces.by_names(text, self.several) for text in joined]
        return _matched(self._entries(joined[0]), self._entries(joined[1]), self._unions)

    def _entries(self, text: str) -> list[str]:
        """The entries of a list, one entry for anything else."""
        inside = notation.bracketed(text)
        if inside is not None and inside[1] in ("", r"\emptyset"):
            return [text]  # the empty set, and the set that holds it
        if inside is not None and (inside[0] == r"\{" or (self.unordered and inside[0] == "(")):
            text = inside[1]
        parts = pieces.entries(text, self.several)
        return [sign for part in parts if part for sign in notation.signs(part)] or [text]

    def _unions(self, gold: str, predicted: str) -> bool:
        golds, predictions = (notation.split(sets.member(text), r"\cup") for text in (gold, predicted))
        return _matched(golds, predictions, self._entry)

    def _entry(self, gold: str, predicted: str) -> bool:
        """One entry: a tuple, interval or matrix by its entries, else a number, words, or an expression."""
        if self.by_text and notation.squeezed(gold) == notation.squeezed(predicted):
            return True
        gold, predicted = (sets.as_interval(text) for text in (gold, predicted))
        first, second = (notation.bracketed(pieces.tuple_value(text)) for text in (gold, predicted))
        if first is not None and second is not None:
            if first[0] == second[0] == r"\{":
                return _matched(self._entries(gold), self._entries(predicted), self._unions)
            golds, predictions = notation.split(first[1], ","), notation.split(second[1], ",")
            if len(golds) > 1 or len(predictions) > 1:
                alike = (first[0], first[2]) == (second[0], second[2]) and len(golds) == len(predictions)
                return alike and all(map(self._entry, golds, predictions))
        grids = [matrices.matrix(text) for text in (gold, predicted)]
        if any(grids):
            one, other = (pieces.tuple_value(text) for text in (gold, predicted))
            return self._matrices(
                grids[0] or matrices.vector(one, grids[1] or []), grids[1] or matrices.vector(other, grids[0] or [])
            )
        decided = self._numbers(gold, predicted)
        return self._expression(gold, predicted) if decided is None else decided

    def _matrices(self, gold: list[list[str]] | None, predicted: list[list[str]] | None) -> bool:
        if gold is None or predicted is None or [len(row) for row in gold] != [len(row) for row in predicted]:
            return False
        return all(
            self._entry(one, other)
            for row, rows in zip(gold, predicted, strict=True)
            for one, other in zip(row, rows, strict=True)
        )

    def _expression(self, gold: str, predicted: str) -> bool:
        told = notation.words(gold)
        if told is not None:
            said = notation.bare(predicted)
            return told == said or (len(told) == 1 and letters.letter(predicted, []) == told.upper())
        if letters.plain_word(gold):
            return gold.casefold() == notation.bare(predicted)
        based = [bases.based(text) for text in (gold, predicted)]
        if any(based):
            one, other = (found or (text, "10") for found, text in zip(based, (gold, predicted), strict=True))
            return one[1] == other[1] and (one[0] == other[0] if all(based) else self._entry(one[0], other[0]))
        ratio = [notation.split(text, ":") for text in (gold, predicted)]
        if len(ratio[0]) == len(ratio[1]) > 1:
            (a, *rest), (b, *others) = ratio
            return all(self._algebra(f"({a})({y})", f"({b})({x})") for x, y in zip(rest, others, strict=True))
        return self._with_units(gold, predicted)

    def _with_units(self, gold: str, predicted: str) -> bool:
        """Expressions as they stand, then with their units apart."""
        first, second = self._quantity(gold), units.split(predicted)
        reason: ValueError | None = None
        if not (first.unit and not first.plain and first.body != gold):
            try:
                if self._algebra(gold, predicted):
                    return True
            except ValueError as error:
                reason = error
        glued = first.unit is None and bool(second.unit)
        if glued:
            apart = units.split(gold, glued=True)
            if apart.unit and units.compatible(apart, second) and self._quantities(apart, second):
                return True
        if (first.unit is not None or second.unit is not None) and (first.body != gold or second.body != predicted):
            return units.compatible(first, second) and self._quantities(first, second)
        if reason is not None:
            raise reason
        return False

    def _quantities(self, first: Quantity, second: Quantity) -> bool:
        numbers = numerals.read(first.body), numerals.read(second.body)
        if numbers[0] is not None and numbers[1] is not None:
            return numerals.equal(numbers[0], numbers[1], rel_tol=self.rel_tol, abs_tol=self.abs_tol)
        return self._algebra(first.body, second.body)

    def _algebra(self, gold: str, predicted: str) -> bool:
        """Expressions; a name on one side only ("f(x) = 2x" and "2x"), or the same on both, is no part of them."""
        one, other = notation.named(gold), notation.named(predicted)
        if one is not None and other is not None:
            value = names.aligned(one, other)
            if value is not None:
                return self._entry(one[1], value)
        elif (len(notation.sides(gold)) > 1) != (len(notation.sides(predicted)) > 1):
            values = notation.value(gold), notation.value(predicted)
            return not any(len(notation.sides(side)) > 1 for side in values) and self._entry(*values)
        if (r"\text" in gold or r"\mathrm" in gold) != (r"\text" in predicted or r"\mathrm" in predicted):
            gold, predicted = names.plain(gold), names.plain(predicted)
        return self.symbolic(gold, predicted, self.rel_tol)


def _matched(golds: Sequence[str], predictions: Sequence[str], equal: Callable[[str, str], bool]) -> bool:
    """Whether the two are one multiset under `equal`, which is taken to be an equivalence."""
    if len(golds) != len(predictions) or len(golds) > MAX_ENTRIES:
        return False
    left = list(predictions)
    for gold in golds:
        match = next((index for index, entry in enumerate(left) if equal(gold, entry)), None)
        if match is None:
            return False
        del left[match]
    return True
