"""Models for workers that end themselves once, at a point of their work: loaded as "tests.crash.worker_points:at_N".

A point stands before each call of a model and before each message to the driver; a message has a second one, at half of
its bytes. The one that dies leaves a file,
so that its successor lives.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.evals import tables

PASSED = "passed"
DIED = "died"


def __getattr__(name: str) -> Any:
    if not name.startswith("at_"):
        raise AttributeError(name)
    at = int(name.removeprefix("at_").partition("_in_")[0])
    return _loader(at, Path(bytes.fromhex(name.partition("_in_")[2]).decode()))


def load(at: int, folder: Path) -> str:
    """The name of a loader whose workers die at their N-th point, once in this folder (0: never)."""
    return f"tests.crash.worker_points:at_{at}_in_{str(folder).encode().hex()}"


def _loader(at: int, folder: Path) -> Callable[[str, str], Any]:
    count = 0

    def reach(half: Callable[[], object] | None = None) -> None:
        nonlocal count
        for act in (None, half)[: 1 + (half is not None)]:
            count += 1
            if count == at and not (folder / DIED).exists():
                (folder / DIED).touch()
                if act is not None:
                    act()
                os._exit(137)
        (folder / PASSED).write_text(str(count))

    def install() -> None:
        real = vars(Connection)["_send_bytes"]

        def send(self: Any, data: Any) -> None:
            reach(lambda: os.write(self.fileno(), len(data).to_bytes(4) + bytes(data[: len(data) // 2])))
            real(self, data)

        setattr(Connection, "_send_bytes", send)  # noqa: B010 - no public name

    def load_part(role: str, spec: str) -> Any:
        part = tables.load_part(role, spec)
        if role == "draft":
            install()
        for name in ("sample", "score"):
            if hasattr(part, name):
                setattr(part, name, _before(reach, getattr(part, name)))
        return part

    return load_part


def _before(reach: Callable[[], None], real: Any) -> Any:
    def counted(*given: Any, **named: Any) -> Any:
        reach()
        return real(*given, **named)

    return counted
