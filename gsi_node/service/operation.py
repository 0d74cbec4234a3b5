"""One thing that can be asked of a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

JSON, EVENTS = "application/json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """about: it, in a line. answers: by media type, what it answers; of JSON the type of the body, of events that of
    each event's data, of others str. body: what must be sent, None where nothing is."""

    method: str
    path: str
    about: str
    handle: Callable[[Request], Awaitable[Response]]
    answers: Mapping[str, Any]
    body: type[BaseModel] | None = None
