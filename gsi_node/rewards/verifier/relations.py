"""The relations written in a text (=, ≈, ≠, <, ≤, >, ≥) and whether each holds exactly.

Each sign is judged with the expression that ends before it and the one that begins after it. A verdict is given only
where the reading is plain: an unknown symbol next to an expression, or a unit that would have to be converted, leaves
the relation unchecked. Where a notation has two readings, a relation holds if one of them makes it true, and fails only
if none does. One pass over the tokens: the stretches between two signs are scanned at most twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from gsi_node.rewards.verifier.arithmetic import Exact
from gsi_node.rewards.verifier.notation import tokens as tokenize
from gsi_node.rewards.verifier.sides import NOTHING, SCALES, Side, left_side, right_side

_SYMBOLS = ("number", "operator", "open", "close", "percent")


class Relation(NamedTuple):
    """One sign: its spelling, and True or False where it is checked, else None."""

    sign: str
    holds: bool | None


def _true(sign: str, left: Exact, right: Exact) -> bool:
    if isinstance(left, str) or isinstance(right, str):
        return False  # no relation holds for what divides by zero
    if sign == "=":
        return left == right
    if sign == "≠":
        return left != right
    if sign in "≤≥" and left == right:
        return True
    return left < right if sign in "<≤" else left > right


def _rounds(left: Side, right: Side) -> bool | None:
    """≈: True for a correct rounding to the digits shown, None within one unit of the last of them, else False."""
    exact, shown = (left, right) if right.place is not None else (right, left)
    if shown.place is None:
        return True if any(_true("=", a, b) for a in left.values for b in right.values) else None
    unit = Fraction(10) ** shown.place
    pairs = [(a, b) for a in exact.values for b in shown.values]
    errors = [abs(a - b) for a, b in pairs if isinstance(a, Fraction) and isinstance(b, Fraction)]
    if not errors:
        return False
    return True if 2 * min(errors) <= unit else None if min(errors) <= unit else False


def compare(sign: str, left: Side, right: Side) -> bool | None:
    """Whether a relation holds; None where it is not checkable, or false only in one of several readings."""
    if not left.values or not right.values:
        return None
    exact = any(_true(sign, a, b) for a in left.values for b in right.values)
    verdict = _rounds(left, right) if sign == "≈" else exact
    if verdict is not False:
        return verdict
    converted = left.units != right.units and (
        (left.atom and right.atom)
        or bool((left.units ^ right.units) & SCALES)
        or (bool(left.units and right.units) and (left.sums or not right.units <= left.units))
    )
    if converted or not (left.plain and right.plain):
        return None
    if left.percent != right.percent and not (left.atom and right.atom):  # 100 - 20 = 80% means percent on both sides
        scaled = [value * 100 for value in (left if left.percent else right).values if isinstance(value, Fraction)]
        others = (right if left.percent else left).values
        if any(_true("=", a, b) for a in scaled for b in others):
            return None
    return False


def relations(text: str) -> Iterator[Relation]:
    """Every relation sign of a text, in order, with its verdict, judged when it is asked for.

    What two = signs enclose without being checkable passes its left neighbour on: 3 * 4 = x = 13 is false.
    """
    tokens = tokenize(text)
    signs = [index for index, token in enumerate(tokens) if token.kind == "relation"]
    carried = NOTHING
    for number, position in enumerate(signs):
        start = signs[number - 1] + 1 if number else 0
        end = signs[number + 1] if number + 1 < len(signs) else len(tokens)
        sign = tokens[position].text
        left, right = left_side(tokens, start, position), right_side(tokens, position + 1, end)
        if not left.values and sign == "=":
            left = carried
        yield Relation(sign, compare(sign, left, right))
        between = tokens[position + 1 : end]
        symbols = all(t.kind in _SYMBOLS or (t.kind == "word" and len(t.text) == 1) for t in between)
        carried = left if sign == "=" and symbols and not right.values else NOTHING
