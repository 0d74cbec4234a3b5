"""Types of options: each reads a text, or says what it wants and what it got."""

from __future__ import annotations

import argparse
import math

DIGITS = 18
"""No integer of an option has more."""


def names(text: str) -> list[str]:
    """a,b,c."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise _wanted("names with commas between", text)
    return found


def integer(text: str) -> int:
    """A whole number of at most DIGITS digits."""
    try:
        if len(text) > DIGITS:
            raise ValueError
        return int(text)
    except ValueError as error:
        raise _wanted("an integer", text) from error


def integers(text: str) -> list[int]:
    """0,1,2."""
    try:
        return [integer(part) for part in text.split(",")]
    except argparse.ArgumentTypeError as error:
        raise _wanted("integers with commas between", text) from error


def positive(text: str) -> int:
    """An integer ≥ 1."""
    try:
        found = integer(text)
    except argparse.ArgumentTypeError as error:
        raise _wanted("an integer ≥ 1", text) from error
    if found < 1:
        raise _wanted("an integer ≥ 1", text)
    return found


def number(text: str) -> float:
    """A finite number ≥ 0."""
    try:
        found = float(text)
    except ValueError as error:
        raise _wanted("a number ≥ 0", text) from error
    if not (math.isfinite(found) and found >= 0):
        raise _wanted("a finite number ≥ 0", text)
    return found


def numbers(text: str) -> list[float]:
    """5,20: finite, ≥ 0."""
    return [number(part) for part in text.split(",")]


def above_zero(text: str) -> float:
    """A finite number > 0."""
    found = number(text)
    if found == 0:
        raise _wanted("a finite number > 0", text)
    return found


def shard(text: str) -> tuple[int, int]:
    """I/K."""
    part, slash, whole = text.partition("/")
    try:
        found = integer(part), integer(whole)
    except argparse.ArgumentTypeError as error:
        raise _wanted("I/K with I from 0 to K − 1, such as 0/4", text) from error
    if not slash or not 0 <= found[0] < found[1]:
        raise _wanted("I/K with I from 0 to K − 1, such as 0/4", text)
    return found


def _wanted(what: str, text: str) -> argparse.ArgumentTypeError:
    told = text if len(text) <= 40 else text[:40] + "…"
    return argparse.ArgumentTypeError(f"want {what}, got {told!r}")
