"""One thing that can be asked of a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Operation:
    """about: it, in a line. body: what must be sent, None where nothing is. answers: the media types it answers in."""

    method: str
    path: str
    about: str
    handle: Callable[[Request], Awaitable[Response]]
    body: type[BaseModel] | None = None
    answers: tuple[str, ...] = ("application/json",)
