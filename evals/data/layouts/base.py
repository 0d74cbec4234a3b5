"""What a layout is: how one row of a set, in any of the shapes found in the wild, becomes a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gsi_node.errors import ConfigError, shown

SetRow = Mapping[str, object]


class Reading(NamedTuple):
    """A row as read: everything of a `Problem` but its id."""

    problem: str
    answer: str
    kind: str
    meta: Mapping[str, object]


class Hub(NamedTuple):
    """Where the `datasets` library finds a set."""

    path: str
    config: str | None
    split: str


@dataclass(frozen=True, slots=True)
class Layout:
    """One set: `read` turns a row into a problem, `hub` is its public home."""

    name: str
    hub: Hub
    read: Callable[[SetRow], Reading]


def first(row: SetRow, *names: str) -> object:
    """The value of the first of `names` that the row has and that is not None.

    Raises ConfigError naming the fields that were looked for and those that are there.
    """
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ConfigError(f"no field {' or '.join(names)}; the row has {', '.join(map(str, row))[:200] or 'no fields'}")


def question(row: SetRow) -> str:
    """The problem's text."""
    text = first(row, "problem", "question")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"the problem must be a text that is not empty, but it is {shown(text)}")
    return text


def plain(value: object) -> str:
    """An answer as text: strings as they are, numbers as JSON writes them."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"an answer is a text or a number, but it is {shown(value)}")
    text = str(value).strip()
    if not text:
        raise ConfigError("the answer is empty")
    return text
