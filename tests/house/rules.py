"""What the house refuses, of what `measure` counts."""

from __future__ import annotations

import re
from typing import NamedTuple

from .measure import MAX_LINES, Measured
from .signatures import MAX_POSITIONAL
from .walls import room_of

MEDIAN = 100
REFUSED = (
    f"files over {MAX_LINES} lines",
    "loose files there that are not of the ground",
    "circles of files",
    "imports up",
    "imports that a room does without",
    "files in no room",
    f"functions with more than {MAX_POSITIONAL} parameters by position",
    "functions of ours that hide options in **kwargs",
    "names of classes and aliases in several files",
    "such names with a leading underscore",
)
_NUMBER = re.compile(r"(?<=\.py):\d+")
_PLACE = re.compile(r"(?:gsi_node|evals|graphs)[\w./]*")


class Violation(NamedTuple):
    """`what` stays the same when lines move; `line` says where it stands today, and whose rooms these are."""

    what: str
    line: str


def violations(measured: Measured) -> list[Violation]:
    """Everything of a tree that the house refuses."""
    found = [_violation(label, place) for label in REFUSED for place in measured["places"][label]]
    middle = measured["figures"]["median length of a file"]
    if middle >= MEDIAN:
        found.append(Violation("median length of a file", f"median length of a file: {middle:g}"))
    return found


def _violation(label: str, place: str) -> Violation:
    where = dict.fromkeys(_room(name) for name in _PLACE.findall(place))
    what = place.partition(":")[0] if label in REFUSED[-2:] else _NUMBER.sub("", place)
    return Violation(what, f"{label} [{', '.join(where)}]: {place}")


def _room(place: str) -> str:
    room = room_of(place.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    return "no room" if room is None else room.name
