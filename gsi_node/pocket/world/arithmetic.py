"""Chains of sums and differences, and expressions with brackets."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import cast

from gsi_node.pocket.world.content import (
    Content,
    Params,
    ProblemFamily,
    Wordings,
    final,
    minus,
    multipliable,
    plus,
    product,
)

Expression = int | tuple[str, "Expression", "Expression"]
ASK = ("Compute {}.", "What is {}?", "Calculate {}.", "Evaluate {}.", "Work out {}.", "Find the value of {}.")
WORK: dict[str, Callable[[int, int], str]] = {
    "+": plus,
    "-": minus,
    "*": product,
    "/": lambda a, b: f"{a} / {b} = {a // b}",
}
CHAIN_EXACT = "State the final answer to the following arithmetic problem: {} ="


def sample_chain(rng: Random) -> Params:
    """Two or three numbers of one or two digits (the same number of digits), joined by + and -."""
    low, high = rng.choice(((0, 9), (10, 99), (10, 99)))
    count = rng.choice((2, 3))
    params: list[object] = [rng.randint(low, high)]
    for _ in range(count - 1):
        params += [rng.choice("+-"), rng.randint(low, high)]
    return tuple(params)


def build_chain(params: Params) -> Content:
    """Parameters: number, operator, number, operator, …; worked out from left to right."""
    text = " ".join(str(part) for part in params)
    value = cast(int, params[0])
    steps: list[Wordings] = []
    for operator, number in zip(params[1::2], params[2::2], strict=True):
        after = value + cast(int, number) if operator == "+" else value - cast(int, number)
        line = f"{WORK[cast(str, operator)](value, cast(int, number))}."
        steps.append((line, f"From left to right: {line}") if not steps and len(params) > 3 else (line,))
        value = after
    steps.append(final(str(value)))
    asks = tuple(ask.format(text) for ask in ASK)
    return Content(f"expression {text}", asks, tuple(steps), str(value), (CHAIN_EXACT.format(text),))


def _apply(operator: str, a: int, b: int) -> int | None:
    """The value, or None where the world does not go (negative, inexact or too large)."""
    if operator == "+":
        return a + b if a + b < 500 else None
    if operator == "-":
        return a - b if a >= b else None
    if operator == "*":
        return a * b if multipliable(a, b) and min(a, b) > 1 else None
    return a // b if 2 <= b <= 12 and a % b == 0 and 1 < a // b <= 30 else None


def _tree(rng: Random, operations: int) -> tuple[Expression, int] | None:
    if operations == 0:
        leaf = rng.randint(2, 12) if rng.random() < 0.8 else rng.randint(2, 40)
        return leaf, leaf
    left_size = rng.randrange(operations)
    operator = rng.choices("+-*/", (3, 3, 4, 2))[0]
    left, right = _tree(rng, left_size), _tree(rng, operations - 1 - left_size)
    if left is None or right is None:
        return None
    value = _apply(operator, left[1], right[1])
    return None if value is None else ((operator, left[0], right[0]), value)


def _operators(node: Expression) -> str:
    return "" if isinstance(node, int) else node[0] + _operators(node[1]) + _operators(node[2])


def sample_expression(rng: Random) -> Params:
    """A tree of two to four operations, with at least one product or quotient."""
    operations = rng.choice((2, 2, 2, 2, 2, 3, 3, 4))
    while True:
        drawn = _tree(rng, operations)
        if drawn is not None and set(_operators(drawn[0])) & set("*/"):
            return (drawn[0],)


def _bracketed(parent: str, child: Expression, *, right: bool) -> bool:
    if isinstance(child, int):
        return False
    if parent in "*/":
        return child[0] in "+-" or right
    return right and child[0] in "+-"


def in_world(node: Expression) -> bool:
    """Whether `sample_expression` draws it: two to four operations with a product or quotient, numbers of 2 to 40."""
    operators = _operators(node)
    return 2 <= len(operators) <= 4 and bool(set(operators) & set("*/")) and _value(node) is not None


def _value(node: Expression) -> int | None:
    if isinstance(node, int):
        return node if 2 <= node <= 40 else None
    operator, left, right = node
    values = _value(left), _value(right)
    return None if values[0] is None or values[1] is None else _apply(operator, values[0], values[1])


def show(node: Expression) -> str:
    """The expression as text, with brackets only where they are needed."""
    if isinstance(node, int):
        return str(node)
    operator, left, right = node
    texts = []
    for child, is_right in ((left, False), (right, True)):
        text = show(child)
        texts.append(f"({text})" if _bracketed(operator, child, right=is_right) else text)
    return f"{texts[0]} {operator} {texts[1]}"


def _next(node: Expression, depth: int = 0, path: tuple[int, ...] = ()) -> list[tuple[int, int, tuple[int, ...]]]:
    """The operations ready to be worked out: (minus bracket depth, precedence, path), best first when sorted."""
    if isinstance(node, int):
        return []
    operator, left, right = node
    if isinstance(left, int) and isinstance(right, int):
        return [(-depth, 0 if operator in "*/" else 1, path)]
    return [
        *_next(left, depth + _bracketed(operator, left, right=False), (*path, 1)),
        *_next(right, depth + _bracketed(operator, right, right=True), (*path, 2)),
    ]


def _replace(node: Expression, path: tuple[int, ...], value: int) -> Expression:
    if not path:
        return value
    operator, left, right = cast(tuple[str, Expression, Expression], node)
    if path[0] == 1:
        return operator, _replace(left, path[1:], value), right
    return operator, left, _replace(right, path[1:], value)


def build_expression(params: Params) -> Content:
    """Parameters: the tree; one operation a step, deepest brackets first, then * and /, then + and -."""
    node = cast(Expression, params[0])
    text = show(node)
    steps: list[Wordings] = []
    while not isinstance(node, int):
        depth, rank, path = min(_next(node))
        at: Expression = node
        for turn in path:
            at = cast(Expression, cast(tuple[str, Expression, Expression], at)[turn])
        operator, a, b = cast(tuple[str, int, int], at)
        value = _apply(operator, a, b)
        if value is None:
            raise ValueError(f"{text} leaves the world at {a} {operator} {b}: use smaller numbers or an exact quotient")
        line = WORK[operator](a, b)
        node = _replace(node, path, value)
        line += "." if isinstance(node, int) else f", which leaves {show(node)}."
        opening = "Brackets first: " if depth else "First, " if rank == 0 else "From left to right: "
        steps.append((line, opening + line) if not steps else (line,))
    steps.append(final(str(node)))
    return Content(f"expression {text}", tuple(ask.format(text) for ask in ASK), tuple(steps), str(node))


CHAIN = ProblemFamily(sample_chain, build_chain)
EXPRESSION = ProblemFamily(sample_expression, build_expression)
