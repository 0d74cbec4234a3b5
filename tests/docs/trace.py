"""Which functions of ours a value passes on its way, by a trace of the calls.

A function passes it on where it is among what the function is called with, or in what it returns.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
DEPTH = 6
_ROOMS = tuple(f"{ROOT / room}/" for room in ("gsi_node", "evals"))


def holds(thing: object, value: object, depth: int = DEPTH) -> bool:
    """Whether a value is `thing`, or inside it: in texts, containers, arrays, records."""
    if isinstance(value, str) and isinstance(thing, str | bytes):
        return value in thing if isinstance(thing, str) else value.encode() in thing
    if isinstance(thing, type(value)):
        return bool(thing == value)
    if depth == 0 or thing is None or isinstance(thing, str | bytes | type):
        return False
    if isinstance(thing, BaseModel):
        return any(holds(one, value, depth - 1) for one in vars(thing).values())
    if isinstance(thing, np.ndarray):
        return bool(np.any(thing == value)) if isinstance(value, float) else False
    if isinstance(thing, Mapping):
        return any(holds(one, value, depth - 1) for one in thing.values())
    if isinstance(thing, list | tuple):
        return any(holds(one, value, depth - 1) for one in thing)
    if is_dataclass(thing):
        return any(holds(getattr(thing, field.name, None), value, depth - 1) for field in fields(thing))
    return False


def name_of(code: CodeType) -> str:
    """module:qualified name, of a function in the tree."""
    path = Path(code.co_filename).relative_to(ROOT).with_suffix("")
    return f"{'.'.join(path.parts)}:{code.co_qualname}"


def walks(run: Callable[[], object], values: Sequence[object], ends: Collection[str] = ()) -> list[list[str]]:
    """For each of `values` the functions that it passes while `run` runs, in the order in which it reaches them.

    Where there are `ends`, last comes a list of those that are at work whenever one of these is called.
    """
    found: list[dict[str, None]] = [{} for _ in values]
    above: dict[str, None] = {}

    def told(frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return") or not _ours(frame):
            return
        name = name_of(frame.f_code)
        for value, passed in zip(values, found, strict=True):
            if name not in passed and holds(argument if event == "return" else frame.f_locals, value):
                passed[name] = None
        if event == "call" and name in ends:
            at: FrameType | None = frame
            while at is not None:
                above.update({name_of(at.f_code): None} if _ours(at) else {})
                at = at.f_back

    sys.setprofile(told)
    threading.setprofile(told)  # the graph runs its nodes in threads
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [*map(list, found), list(above)] if ends else [*map(list, found)]


def _ours(frame: FrameType) -> bool:
    """Whether it is a function of the tree; comprehensions, lambdas and modules belong to what is around them."""
    return frame.f_code.co_filename.startswith(_ROOMS) and not frame.f_code.co_name.startswith("<")
