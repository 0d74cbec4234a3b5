"""Exact arithmetic on written expressions, bounded in time and space by construction.

Values are `fractions.Fraction`. There is no recursion: an operator-precedence pass over the tokens keeps two explicit
stacks, so nesting depth costs list entries, not frames. Numbers never exceed MAX_BITS bits above or below the fraction
bar, so one operation costs a few microseconds and an expression costs that much a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

MAX_BITS = 512
"""Bits of a numerator or denominator; what is larger is not checked."""
MAX_DIGITS = 150
"""Decimal digits of one written number: 150 digits are 499 bits."""

LexemeKind = Literal["number", "operator", "open", "close", "percent", "word", "relation", "stop", "line", "unknown"]
Exact = Fraction | Literal["undefined"]
"""An exact number, or the value of a well-formed expression that divides by zero."""


class Lexeme(NamedTuple):
    """One piece of a text.

    text: its canonical spelling (every multiplication sign is "*", every approximation sign "≈"). gap: whether white
    space stands before it. value: of a number. place: the power of ten of the last digit shown ("0.25": -2, "1200": 2),
    None for what is no plain literal. product: a mixed number such as 2\\frac{1}{3} read as a product instead of a sum.
    """

    kind: LexemeKind
    text: str
    gap: bool = False
    value: Fraction = Fraction(0)
    place: int | None = None
    product: Fraction | None = None


class _Unchecked(Exception):
    """The tokens are no expression, or a value is too large."""


_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "implicit": 2, "negate": 3, "^": 4}
_ONE = Fraction(1)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    """base^exponent for an integer exponent whose result fits in MAX_BITS; ZeroDivisionError for 0^-n."""
    if exponent.denominator != 1 or (base == 0 and exponent == 0):
        raise _Unchecked
    if base in (0, 1):
        return _ONE / base if exponent < 0 else base if exponent else _ONE
    if base == -1:
        return _ONE if exponent % 2 == 0 else -_ONE
    if abs(exponent) * (_bits(base) - 1) > MAX_BITS:
        raise _Unchecked
    result = base ** int(exponent)
    return Fraction(result)


class _Machine:
    """The two stacks of an operator-precedence evaluation."""

    def __init__(self) -> None:
        self.values: list[Fraction] = []
        self.pending: list[str] = []
        self.undefined = False

    def reduce(self) -> None:
        """Apply the operator on top of the stack."""
        operator = self.pending.pop()
        right = self.values.pop()
        if operator == "negate":
            self.values.append(-right)
            return
        left = self.values.pop()
        try:
            if operator == "+":
                result = left + right
            elif operator == "-":
                result = left - right
            elif operator == "/":
                result = left / right
            elif operator == "^":
                result = _power(left, right)
            else:
                result = left * right
        except ZeroDivisionError:
            self.undefined, result = True, _ONE
        self.push(result)

    def push(self, value: Fraction) -> None:
        """Keep a value, if it is within the bounds."""
        if _bits(value) > MAX_BITS:
            raise _Unchecked
        self.values.append(value)

    def percent(self) -> None:
        """Divide the value on top of the stack by 100."""
        self.push(self.values.pop() / 100)

    def binary(self, operator: str) -> None:
        """Push a binary operator after applying those that bind tighter; ^ is right-associative."""
        rank = _PRECEDENCE[operator] + (operator == "^")
        while self.pending and self.pending[-1] != "(" and _PRECEDENCE[self.pending[-1]] >= rank:
            self.reduce()
        self.pending.append(operator)

    def close(self) -> None:
        """Apply everything back to the opening bracket."""
        while self.pending and self.pending[-1] != "(":
            self.reduce()
        if not self.pending:
            raise _Unchecked
        self.pending.pop()


def evaluate(tokens: Sequence[Lexeme], products: bool = False) -> Exact | None:
    """The exact value of an expression; None where the tokens are no expression or exceed the bounds.

    Unary minus binds looser than ^ and tighter than *, so -2^2 = -4 and 2^-1 = 1/2. products: read mixed numbers
    written with \\frac as products.
    """
    machine = _Machine()
    operand = True  # whether an operand must come next
    try:
        for token in tokens:
            if token.kind == "number" and operand:
                product = token.product if products else None
                machine.values.append(token.value if product is None else product)
                operand = False
            elif token.kind == "open" and operand:
                machine.pending.append("(")
            elif token.kind == "close" and not operand:
                machine.close()
            elif token.kind == "percent" and not operand:
                machine.percent()
            elif token.kind == "operator" and not operand:
                machine.binary(token.text)
                operand = True
            elif token.kind == "operator" and token.text in "+-":
                machine.pending.extend(["negate"] if token.text == "-" else [])
            else:
                return None
        if operand or "(" in machine.pending:
            return None
        while machine.pending:
            machine.reduce()
    except _Unchecked:
        return None
    return "undefined" if machine.undefined else machine.values[0]
