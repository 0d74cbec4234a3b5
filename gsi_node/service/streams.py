"""Answers that are sent as events while the work goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gsi_node.service.chat import event
from gsi_node.service.operation import EVENTS


class StepStream(StreamingResponse):
    """Server-sent events. held: what ends with them, however they end."""

    held: ExitStack

    def __init__(self, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type=EVENTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.held:
            await super().__call__(scope, receive, send)


def told_refusal(refusal: Response) -> str:
    """An error in the middle of a stream, with the status that it would have had."""
    return event({"error": {**json.loads(bytes(refusal.body))["error"], "code": refusal.status_code}})
