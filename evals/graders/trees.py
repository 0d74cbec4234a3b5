"""Expression trees, and what stands in them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

WHOLE = frozenset("floor ceil factorial binomial gcd lcm mod sum prod".split())
"""Operations on whole numbers."""


class Node(NamedTuple):
    """A tree. op: "number" (value, decimal), "symbol" (name), or an operation on `args`.

    decimal: of a number, whether it was written with a point or an exponent.
    """

    op: str
    args: tuple[Node, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""
    decimal: bool = False


def number(value: Fraction | int, decimal: bool = False) -> Node:
    """A number as a tree."""
    return Node("number", value=Fraction(value), decimal=decimal)


def symbol(name: str) -> Node:
    """A symbol as a tree."""
    return Node("symbol", name=name)


class Unreadable(ValueError):
    """The text is no expression."""


def symbols(tree: Node) -> frozenset[str]:
    """The names of the free symbols of a tree."""
    found: set[str] = set()
    stack: list[tuple[Node, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        node, bound = stack.pop()
        if node.op == "symbol" and node.name not in bound:
            found.add(node.name)
        inner = bound | {node.name} if node.op in ("sum", "prod") else bound
        stack.extend((arg, inner) for arg in node.args)
    return frozenset(found)


def operations(tree: Node) -> frozenset[str]:
    """The operations in a tree; "decimal" among them where a number is written with a point or an exponent.

    "parity" where something is raised to a power that holds a symbol, from a negative number: (-1)^n.
    """
    found: set[str] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        found.add("decimal" if node.decimal else node.op)
        if node.op == "^" and _negative(node.args[0]) and symbols(node.args[1]):
            found.add("parity")
        stack.extend(node.args)
    return frozenset(found)


def _negative(tree: Node) -> bool:
    if tree.op == "*":
        return sum(map(_negative, tree.args)) % 2 == 1 and not symbols(tree)
    return tree.op == "number" and tree.value < 0
