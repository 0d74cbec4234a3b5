r"""Equality of two expressions, equations, inequalities or matrices by their values at the same points.

Two expressions are equal if they are at every point tried: exactly, where both values are fractions; else to 1000
digits (checked at one point; at the others to 36). A number that was written with a point agrees within the tolerance
of decimals (see numerals.equal). Letters stand for real numbers, positive and negative, and for whole ones where a
factorial, a floor, a binomial coefficient or (-1)^n is in play; where an expression has i in it, for positive ones.
Two equations are equal if their sides' differences are, up to a constant factor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from evals.graders import expressions, numerals, trees
from evals.graders.trees import Node, Unreadable
from evals.graders.values import Budget, Evaluator, Undefined, Value

Point = Mapping[str, Fraction]
Values = tuple[Value | None, Value | None]
Compare = Callable[[Point, Values, bool], bool | None]
"""(point, the two values there, whether no point was compared yet) → whether they fit; None: it says nothing."""

DIGITS = (40, 1000)
POINTS = 14
ENOUGH = 5
"""Points with values on both sides after which real letters need no more."""
_RELATION = re.compile(r"(\\(?:le|ge|ne)(?![a-zA-Z])|(?<![\\])[<>]|(?<!\\)=|\\(?:approx|equiv)(?![a-zA-Z]))")
_TURNED = {"<": ">", ">": "<", "le": "ge", "ge": "le"}


def equal(gold: str, predicted: str, rel_tol: Fraction | None) -> bool:
    """Whether two normal texts are equal as mathematics. Raises ValueError where one of them cannot be read."""
    first = _read(gold)
    if isinstance(first, str):
        raise ValueError(f"the gold answer cannot be read as mathematics: {first}")
    second = _read(predicted)
    if isinstance(second, str):
        raise ValueError(f"the answer cannot be read as mathematics: {second}")
    (sides, signs), (other_sides, other_signs) = first, second
    if not signs and not other_signs:
        return same(sides[0], other_sides[0], rel_tol)
    if len(signs) != len(other_signs):
        return False
    return any(
        _alike(sides, signs, turned, turned_signs, rel_tol)
        for turned, turned_signs in ((other_sides, other_signs), _around(other_sides, other_signs))
    )


def _alike(
    sides: Sequence[Node],
    signs: Sequence[str],
    others: Sequence[Node],
    other_signs: Sequence[str],
    rel_tol: Fraction | None,
) -> bool:
    """Whether two chains of relations are link by link the same."""
    if tuple(signs) != tuple(other_signs):
        return False
    links = zip(pairwise(sides), pairwise(others), signs, strict=True)
    return all(_link(one, other, sign, rel_tol) for one, other, sign in links)


def _link(one: tuple[Node, Node], other: tuple[Node, Node], sign: str, rel_tol: Fraction | None) -> bool:
    """Two relations. Where a side that holds a letter stands in both, the other sides decide, within the tolerance."""
    for here in (0, 1) if sign == "=" else ():
        for there in (0, 1):
            if trees.symbols(one[here]) and one[here] == other[there]:
                return same(one[1 - here], other[1 - there], rel_tol)
    return proportional(_gap(*one), _gap(*other), positive=sign in _TURNED)


def _around(sides: Sequence[Node], signs: Sequence[str]) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """a < b as b > a."""
    return tuple(reversed(sides)), tuple(_TURNED.get(sign, sign) for sign in reversed(signs))


def _gap(left: Node, right: Node) -> Node:
    return Node("+", (left, Node("*", (trees.number(-1), right))))


def _links(text: str) -> list[str]:
    """The text cut at the relations outside all brackets: side, relation, side …"""
    pieces, start, depth, scanned = [], 0, 0, 0
    for match in _RELATION.finditer(text):
        between = text[scanned : match.start()]
        depth += sum((char in "([{") - (char in ")]}") for char in between)
        scanned = match.end()
        if depth == 0:
            pieces += [text[start : match.start()], match[0]]
            start = match.end()
    return [*pieces, text[start:]]


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple[tuple[Node, ...], tuple[str, ...]] | str:
    """The sides of a text and the relations between them; why not, where it cannot be read."""
    pieces = _links(text)
    try:
        sides = tuple(expressions.parse(side) for side in pieces[::2])
    except Unreadable as error:
        return str(error)
    names = (sign.strip("\\") for sign in pieces[1::2])
    return sides, tuple("=" if sign in ("approx", "equiv") else sign for sign in names)


def same(first: Node, second: Node, rel_tol: Fraction | None) -> bool:
    """Whether two expressions have the same value wherever both have one.

    Raises ValueError where they have none, or one that is too large.
    """

    def begin(complex: bool, budget: Budget) -> Compare:
        def compare(point: Point, values: Values, thorough: bool) -> bool | None:
            one, other = values
            if one is None or other is None:
                return False if one is not other and not point else None
            return _agree(first, second, point, complex, budget, rel_tol=rel_tol, thorough=thorough)

        return compare

    return _throughout(first, second, begin)


def proportional(first: Node, second: Node, positive: bool) -> bool:
    """Whether two expressions are equal, exactly, up to a constant factor, which is not 0 (positive: above 0).

    Raises ValueError like `same`.
    """

    def begin(complex: bool, budget: Budget) -> Compare:
        start: list[Node] = []

        def compare(point: Point, values: Values, thorough: bool) -> bool | None:
            one, other = values
            if one is None or other is None:
                return None
            here = [_put(tree, point) for tree in (first, second)]
            if start:
                crossed = Node("*", (start[0], here[1])), Node("*", (here[0], start[1]))
                return _agree(*crossed, {}, complex, budget, rel_tol=Fraction(0), thorough=thorough)
            if not one or not other:
                return False if bool(one) != bool(other) else None
            turned = Evaluator.sign(one) * Evaluator.sign(other)
            if positive and turned < 0:
                return False
            if not positive or turned != 0:  # else not real there
                start.extend(here)
            return None

        return compare

    return _throughout(first, second, begin)


def _throughout(first: Node, second: Node, begin: Callable[[bool, Budget], Compare]) -> bool:
    """Whether a comparison, begun for each ground, holds at enough of its points: it says None where it cannot tell.

    Raises ValueError where it can nowhere.
    """
    budget = Budget()
    for points, complex in _grounds(first, second):
        compare, both = begin(complex, budget), 0
        for point in points:
            one, other = (_value(tree, point, complex, DIGITS[0], budget) for tree in (first, second))
            verdict = compare(point, (one, other), not both)
            if verdict is False:
                return False
            both += verdict is True
            if both == ENOUGH and len(points) <= POINTS:
                break
        if both:
            return True
    raise ValueError("it has no value that could be compared")


def _grounds(first: Node, second: Node) -> list[tuple[list[dict[str, Fraction]], bool]]:
    """The points to try, and whether in complex numbers: the real ones first, unless there is an i."""
    names = sorted(trees.symbols(first) | trees.symbols(second))
    used = trees.operations(first) | trees.operations(second)
    if not names:
        points: list[dict[str, Fraction]] = [{}]
    elif used & (trees.WHOLE | {"parity"}) and not _idle(first, names) and not _idle(second, names):
        points = [{name: _whole(name, index) for name in names} for index in range(3 * POINTS)]
    else:
        points = [{name: _real(name, index, "i" in used) for name in names} for index in range(POINTS)]
    return [(points, True)] if "i" in used else [(points, False), (points, True)]


def _idle(tree: Node, names: Sequence[str]) -> bool:
    """Whether a floor or ceiling does nothing at whole numbers, like that of x alone: its letters are real."""
    stack = [tree]
    while stack:
        node = stack.pop()
        stack.extend(node.args)
        if node.op in ("floor", "ceil"):
            points = [{name: _whole(name, index) for name in names} for index in range(8)]
            found = [_value(node.args[0], point, False, DIGITS[0], Budget()) for point in points]
            if all(isinstance(value, Fraction) and value.denominator == 1 for value in found):
                return True
    return False


def _chance(name: str, index: int) -> int:
    return int.from_bytes(blake2b(f"{index} {name}".encode(), digest_size=4).digest(), "big")


def _whole(name: str, index: int) -> Fraction:
    return Fraction(_chance(name, index) % 24 + 1)


def _real(name: str, index: int, positive: bool) -> Fraction:
    """A point by name and index: small ones first, then larger ones and negative ones."""
    low, high, signed = ((0, 1, False), (1, 2, False), (2, 6, False), (0, 2, True), (1, 6, True), (6, 18, False))[
        index % 6
    ]
    chance = _chance(name, index)
    size = Fraction(low, 2) + Fraction((high - low) * (chance % 95 + 1), 2 * 97)
    return -size if signed and not positive and chance >> 8 & 1 else size


def _value(tree: Node, point: Mapping[str, Fraction], complex: bool, digits: int, budget: Budget) -> Value | None:
    try:
        return Evaluator(digits, complex, budget).value(tree, point)
    except Undefined:
        return None


def _agree(
    first: Node,
    second: Node,
    point: Mapping[str, Fraction],
    complex: bool,
    budget: Budget,
    *,
    rel_tol: Fraction | None,
    thorough: bool,
) -> bool:
    """Whether two trees have the same value at one point, where both have one."""
    decimal = "decimal" in trees.operations(first) | trees.operations(second)
    digits = DIGITS[0]
    for stage in range(2 if thorough else 1):
        evaluator = Evaluator(digits, complex, budget)
        one, other = evaluator.value(first, point), evaluator.value(second, point)
        if isinstance(one, Fraction) and isinstance(other, Fraction):
            return numerals.close(one, other, decimal, rel_tol, None)
        a, b = evaluator.number(one), evaluator.number(other)
        gap, size = abs(a - b), max(abs(a), abs(b))
        if decimal:
            default = evaluator.number(numerals.DEFAULT_TOLERANCE) * min(size, 1)
            return bool(gap <= (default if rel_tol is None else evaluator.number(rel_tol) * size))
        far = gap > evaluator.largest * evaluator.context.mpf(10) ** (-digits * 9 // 10)
        if far and (stage or gap > size / 1000):
            return False
        if far and not thorough:
            return False
        digits = DIGITS[1] + int(evaluator.context.log10(evaluator.largest))
    return True


def _put(tree: Node, point: Mapping[str, Fraction]) -> Node:
    """The tree with the symbols' values in their places."""
    if tree.op == "symbol":
        return trees.number(point[tree.name]) if tree.name in point else tree
    inner = {name: value for name, value in point.items() if tree.op not in ("sum", "prod") or name != tree.name}
    return tree._replace(args=tuple(_put(arg, inner) for arg in tree.args)) if tree.args else tree
