"""Which functions of ours a value passes on its way, by a trace of the calls.

A function passes it on where it is among what the function is called with, or in what it returns.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
DEPTH = 6


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


def walk(run: Callable[[], object], value: object, rooms: tuple[str, ...] = ("gsi_node", "evals")) -> list[str]:
    """The functions that `value` passes while `run` runs, in the order in which it reaches them."""
    prefixes = tuple(f"{ROOT / room}/" for room in rooms)
    found: dict[str, None] = {}

    def told(frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(prefixes):
            return
        if "<" in frame.f_code.co_name:
            return  # a comprehension, a lambda or a module: part of the function around it
        local = frame.f_locals
        if holds(argument, value) if event == "return" else any(holds(one, value) for one in local.values()):
            found.setdefault(name_of(frame.f_code), None)

    sys.setprofile(told)
    threading.setprofile(told)  # the graph runs its nodes in threads
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(found)
