"""Equality of two expressions by math-verify, with what it gets wrong about numbers put right.

Import this only in a process that may be killed: nothing here is bounded in time. math-verify's own limits use signals
and are switched off. It rounds to six decimals (1e-8 equals 2e-8 there), so two constants are compared here, to 30
digits if both are exact, within the tolerance of decimals (see numerals.equal) else.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, UnevaluatedExpr, expand

from evals.graders import numerals

DIGITS = 30
_RENAMED = (
    (re.compile(r"_ ?\{? ?\\odot ?\}?"), "_{sun}"),
    (re.compile(r"\\hbar(?![a-zA-Z])"), "h_{bar}"),
    (re.compile(r"_ ?\{ ?\\(max|min) ?\}"), r"_{\1}"),
    (re.compile(r"(?<![A-Za-z\\])E ?_ ?"), r"\\Xi_"),  # E alone is read as Euler's number, and E_{1} not at all
)
"""Symbols that the parser of math-verify does not read, under names that it does."""


def equal(gold: str, predicted: str, rel_tol: Fraction | None) -> bool:
    """Whether two normal texts are equal as mathematics. Raises ValueError where one of them cannot be read."""
    first = _parsed(gold)
    if first is None:
        raise ValueError("the gold answer cannot be read as mathematics")
    second = _parsed(predicted)
    if second is None:
        raise ValueError("the answer cannot be read as mathematics")
    decided = _constants(first, second, rel_tol)
    if decided is None:
        return bool(verify(first, second, timeout_seconds=None)) or _cancels(first, second)
    return decided


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any | None:
    for pattern, name in _RENAMED:
        text = pattern.sub(name, text)
    found = parse(
        f"${text}$", extraction_config=[LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
    )
    return found[0] if found else None


def _cancels(first: Any, second: Any) -> bool:
    """Whether the difference of two expressions expands to nothing: math-verify compares a lone symbol by its name."""
    if not all(isinstance(one, Expr) for one in (first, second)):
        return False
    return bool(expand((first - second).doit()) == 0)


def _constants(first: Any, second: Any, rel_tol: Fraction | None) -> bool | None:
    """Equality of two numbers; None where one is not a number."""
    if not all(isinstance(one, Expr) and not one.free_symbols and one.is_number for one in (first, second)):
        return None
    a, b = (one.replace(UnevaluatedExpr, lambda inner: inner).evalf(DIGITS + 20) for one in (first, second))
    if not (a.is_finite and b.is_finite):
        return None
    size, gap = max(abs(a), abs(b)), abs(a - b)
    if not any(one.atoms(Float) for one in (first, second) if isinstance(one, Basic)):
        return bool(gap <= size * Float(10) ** -DIGITS)
    tolerance = numerals.DEFAULT_TOLERANCE * min(size, 1) if rel_tol is None else rel_tol * size
    return bool(gap <= tolerance)
