r"""Values of expression trees: exact fractions as far as they go, mpmath's numbers beyond, bounded in size.

Nothing here runs code of an answer or grows without bound: a power, factorial or sum that is too large for MAX_BITS or
MAX_TERMS is refused before it is computed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath

from evals.graders.trees import Node

MAX_BITS = 200_000
"""Bits of the largest whole number that is computed: about 60,000 digits."""
MAX_TERMS = 2_000
"""Terms of the longest sum or product that is computed."""
MAX_FACTORIAL = 10_000
MAX_WORK = 200_000
"""Steps of one comparison, of about 5 µs each; a step with large numbers counts for more."""
MAX_ARGUMENT = 1 << 1000
"""Magnitude of the largest argument of a function such as sinh."""

Value = Any
"""A Fraction, or an mpmath number of the context's precision (mpf, mpc)."""

_local = threading.local()
"""mpmath changes a context's precision while it computes, so each thread has its own."""


def _context(digits: int) -> Any:
    known: dict[int, Any] = _local.__dict__.setdefault("contexts", {})
    if digits not in known:
        if len(known) > 8:
            known.clear()
        known[digits] = mpmath.mp.clone()
        known[digits].dps = digits
    return known[digits]


class Undefined(ArithmeticError):
    """The expression has no value there: a division by zero, a logarithm of zero."""


class NotReal(Undefined):
    """The expression leaves the real numbers there."""


class TooLarge(ValueError):
    """The value is larger than what is computed."""


class Budget:
    """The work that one comparison may still take."""

    def __init__(self) -> None:
        self.left = MAX_WORK

    def spend(self, bits: int) -> None:
        """Count one step with numbers of so many bits. Raises TooLarge when nothing is left."""
        self.left -= 1 + (bits // 2000) ** 2
        if self.left < 0:
            raise TooLarge("it takes too many steps to compute")


class Evaluator:
    """Values at `digits` decimal digits; `largest` is the largest magnitude met on the way.

    complex: whether roots of negative numbers are numbers; else they raise NotReal. An odd root of a negative real
    number is real either way.
    """

    def __init__(self, digits: int, complex: bool, budget: Budget) -> None:
        self.context = _context(digits)
        self.budget = budget
        self.complex = complex
        self.largest: Any = self.context.mpf(1)

    def value(self, tree: Node, at: Mapping[str, Fraction]) -> Value:
        """The value of a tree where the symbols have the values `at`. Raises Undefined, TooLarge, or KeyError."""
        found = self._value(tree, dict(at))
        self.budget.spend(_bits(found) if isinstance(found, Fraction) else self.context.prec)
        if not isinstance(found, Fraction):
            size = abs(found)
            if not self.context.isfinite(size):
                raise Undefined("not a finite number")
            self.largest = max(self.largest, size)
        return found

    @staticmethod
    def sign(value: Value) -> int:
        """The sign of a real value; 0 for one that is not real."""
        if getattr(value, "imag", 0):
            return 0
        return int(value.real > 0) - int(value.real < 0)

    def number(self, value: Value) -> Any:
        """A value as an mpmath number."""
        if isinstance(value, Fraction):
            return self.context.mpf(value.numerator) / value.denominator
        return value

    def _value(self, tree: Node, at: dict[str, Fraction]) -> Value:
        op = tree.op
        if op == "number":
            return tree.value
        if op == "symbol":
            return at[tree.name]
        if op == "pi":
            return +self.context.pi
        if op == "e":
            return +self.context.e
        if op == "i":
            return at["i"] if "i" in at else self.context.mpc(0, 1)
        if op in ("sum", "prod"):
            return self._series(tree, at)
        args = [self.value(arg, at) for arg in tree.args]
        if op == "+":
            return self._fold(args, lambda a, b: a + b)
        if op == "*":
            return self._fold(args, lambda a, b: a * b)
        if op == "^":
            return self._power(args[0], args[1])
        return self._function(op, args)

    def _fold(self, args: list[Value], join: Any) -> Value:
        total = args[0]
        for part in args[1:]:
            if isinstance(total, Fraction) and isinstance(part, Fraction):
                total = self._bounded(join(total, part))
            else:
                total = join(self.number(total), self.number(part))
        return total

    def _bounded(self, value: Fraction) -> Fraction:
        self.budget.spend(_bits(value))
        if _bits(value) > MAX_BITS:
            raise TooLarge("it holds a number of more than 60,000 digits")
        return value

    def _power(self, base: Value, exponent: Value) -> Value:
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            found = self._rational(base, exponent)
            if found is not None:
                return found
        negative = base.imag == 0 and base.real < 0 if not isinstance(base, Fraction) else base < 0
        if base == 0:
            if isinstance(exponent, Fraction) and exponent > 0:
                return Fraction(0)
            raise Undefined("zero to a power that is not positive")
        if negative and isinstance(exponent, Fraction) and exponent.denominator % 2:
            sign = -1 if exponent.numerator % 2 else 1
            return sign * self._plain_power(-self.number(base).real, exponent)
        if negative and not self.complex:
            raise NotReal("a root of a negative number")
        return self._plain_power(self.number(base), exponent)

    def _plain_power(self, base: Any, exponent: Value) -> Any:
        power = self.number(exponent)
        size = abs(self.context.log(base)) * abs(power) if base else 0
        if size > MAX_BITS:
            raise TooLarge("it holds a number of more than 60,000 digits")
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self.context.power(base, int(exponent))
        return self.context.power(base, power)

    def _rational(self, base: Fraction, exponent: Fraction) -> Fraction | None:
        """base^exponent where that is a fraction found exactly; None where it is not."""
        if exponent.denominator > 64 and base not in (0, 1):
            return None
        if base == 0 and exponent <= 0:
            raise Undefined("zero to a power that is not positive")
        size = _bits(base)
        if base not in (0, 1, -1) and size * abs(exponent) > MAX_BITS + size:
            raise TooLarge("it holds a number of more than 60,000 digits")
        if exponent.denominator == 1:
            if base in (0, 1, -1):
                return base if exponent % 2 or base != -1 else Fraction(1)
            return Fraction(base ** int(exponent))
        if base < 0:
            return None
        roots = [_root(part, exponent.denominator) for part in (base.numerator, base.denominator)]
        if roots[0] is None or roots[1] is None:
            return None
        return Fraction(Fraction(roots[0], roots[1]) ** exponent.numerator)

    def _function(self, op: str, args: list[Value]) -> Value:
        if op in ("floor", "ceil"):
            return self._rounded(args[0], op)
        if op == "abs":
            return abs(args[0])
        if op == "factorial":
            return self._factorial(args[0])
        if op == "binomial":
            return self._binomial(args[0], args[1])
        if op == "mod":
            if not all(isinstance(arg, Fraction) and arg.denominator == 1 for arg in args) or not args[1]:
                raise Undefined("a remainder of what are no whole numbers")
            return args[0] % args[1]
        if op in ("gcd", "lcm"):
            if not all(isinstance(arg, Fraction) and arg.denominator == 1 for arg in args):
                raise Undefined(f"{op} of what is no whole number")
            whole = [int(arg) for arg in args]
            return self._bounded(Fraction(math.gcd(*whole) if op == "gcd" else math.lcm(*whole)))
        if op in ("max", "min"):
            if any(getattr(arg, "imag", 0) for arg in args):
                raise NotReal(op)
            return (max if op == "max" else min)(args, key=self.number)
        x = self.number(args[0])
        if abs(x) > MAX_ARGUMENT and op not in ("ln", "log"):
            raise TooLarge(f"the argument of {op} is too large")
        if op in ("ln", "log"):
            return self._logarithm(x, self.number(args[1]) if op == "log" else None)
        if op in _LIMITED and not self.complex and not _LIMITED[op](x):
            raise NotReal(op)
        name = op.replace("arc", "a") if op.startswith("arc") else op
        try:
            return getattr(self.context, name)(x)
        except (ZeroDivisionError, ValueError) as error:
            raise Undefined(str(error)) from None

    def _logarithm(self, x: Any, base: Any) -> Any:
        for part in (x, base):
            if part is not None and part == 0:
                raise Undefined("the logarithm of zero")
            if part is not None and not self.complex and (part.imag or part.real < 0):
                raise NotReal("the logarithm of a negative number")
        if base is None:
            return self.context.log(x)
        if base == 1:
            raise Undefined("a logarithm to base 1")
        return self.context.log(x) / self.context.log(base)

    def _rounded(self, value: Value, op: str) -> Fraction:
        if isinstance(value, Fraction):
            return Fraction(math.floor(value) if op == "floor" else math.ceil(value))
        if value.imag or abs(value.real) > self.context.mpf(10) ** (self.context.dps // 2):
            raise Undefined(f"{op} of what is not known to a whole number")
        near = self.context.nint(value.real)
        if abs(value.real - near) < self.context.mpf(10) ** (10 - self.context.dps):
            return Fraction(int(near))
        return Fraction(int((self.context.floor if op == "floor" else self.context.ceil)(value.real)))

    def _factorial(self, n: Value) -> Fraction:
        if not (isinstance(n, Fraction) and n.denominator == 1 and n >= 0):
            raise Undefined("the factorial of what is no whole number")
        if n > MAX_FACTORIAL:
            raise TooLarge("it holds a number of more than 60,000 digits")
        return Fraction(math.factorial(int(n)))

    def _binomial(self, n: Value, k: Value) -> Fraction:
        whole = isinstance(n, Fraction) and isinstance(k, Fraction) and n.denominator == k.denominator == 1
        if not whole or n < 0:
            raise Undefined("a binomial coefficient of what are no whole numbers")
        if n > MAX_FACTORIAL and min(k, n - k) > 100:
            raise TooLarge("it holds a number of more than 60,000 digits")
        return self._bounded(Fraction(math.comb(int(n), int(k)) if k >= 0 else 0))

    def _series(self, tree: Node, at: dict[str, Fraction]) -> Value:
        low, high = (self.value(end, at) for end in tree.args[:2])
        if not all(isinstance(end, Fraction) and end.denominator == 1 for end in (low, high)):
            raise Undefined("a sum between what are no whole numbers")
        if high - low > MAX_TERMS:
            raise TooLarge(f"it holds a sum of more than {MAX_TERMS} terms")
        total: Value = Fraction(0 if tree.op == "sum" else 1)
        for index in range(int(low), int(high) + 1):
            term = self.value(tree.args[2], at | {tree.name: Fraction(index)})
            total = self._fold([total, term], (lambda a, b: a + b) if tree.op == "sum" else (lambda a, b: a * b))
        return total


_LIMITED = {
    "arcsin": lambda x: abs(x) <= 1,
    "arccos": lambda x: abs(x) <= 1,
    "arccosh": lambda x: x >= 1,
    "arctanh": lambda x: abs(x) < 1,
}


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _root(value: int, degree: int) -> int | None:
    """The whole root of a whole number that is not negative, None where there is none."""
    if value < 2 or degree == 1:
        return value
    root = 1 << -(-value.bit_length() // degree)  # Newton's steps from above fall until they are there
    while (step := ((degree - 1) * root + value // root ** (degree - 1)) // degree) < root:
        root = step
    return root if root**degree == value else None
