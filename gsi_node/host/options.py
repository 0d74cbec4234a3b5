"""Types of options: each reads a text, or says what it wants and what it got."""

from __future__ import annotations

import argparse
from math import inf
from pathlib import Path
from typing import Any

MOST = 1_000_000  # of anything an option counts


def positive(text: str) -> int:
    """The type of an option that counts something."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= MOST:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        limit = f" and at most {MOST:,}" if value > MOST else ""
        raise argparse.ArgumentTypeError(f"want an integer ≥ 1{limit}, got {shown!r}")
    return value


def positives(text: str) -> tuple[int, ...]:
    """The type of an option that counts something, in several sizes: 4,16,64."""
    return tuple(positive(part) for part in text.split(","))


class Joined(argparse.Action):
    """An option that may be given several times, whose values are joined: "A + B"."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = [*getattr(namespace, f"{self.dest}s", ()), values]
        setattr(namespace, f"{self.dest}s", given)
        setattr(namespace, self.dest, " + ".join(given))


def share(text: str) -> float:
    """The type of an option that is a share, from 0 to 1."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"want a share from 0 to 1, got {text[:40]!r}")
    return found


def shares(text: str) -> tuple[float, ...]:
    """The type of an option that names several: 0.5,0.82."""
    return tuple(share(part) for part in text.split(","))


def above_zero(text: str) -> float:
    """The type of an option that is a finite number > 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < inf:
        raise argparse.ArgumentTypeError(f"want a finite number > 0, got {text[:40]!r}")
    return found


def named_path(text: str) -> Path:
    """The type of an option that names a file or a folder."""
    return Path(path_text(text))


def path_text(text: str) -> str:
    """The same, as text. Path("") would be the working folder, and SQLite's "" a file that is lost: nobody means it."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"want a path, got {text!r}; the working folder is '.'")
    return text


def set_field(text: str) -> tuple[str, str | None]:
    """The type of --set FIELD=VALUE: the field, and its value as typed (None for none or null)."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: want field=value")
    return name.replace("-", "_"), None if value.lower() in ("none", "null") else value
