"""A solver behind OpenAI's API: /v1/chat/completions and /v1/models. It answers whatever it is asked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gsi_node.errors import ConfigError, GSIError
from gsi_node.graph.compiled import CompiledWholeRun, WholeRunGraph
from gsi_node.graph.context import overridden
from gsi_node.graph.told import Told
from gsi_node.host.strict_json import finite
from gsi_node.service import chat
from gsi_node.service.answers import Probed
from gsi_node.service.base import GONE, OVER, Service, timed
from gsi_node.service.chat_answers import ChatChunk, ChatCompletion, ModelAbout, ModelList
from gsi_node.service.chat_bodies import ChatBody
from gsi_node.service.door import Door, refuse
from gsi_node.service.meters import RunMeters
from gsi_node.service.operation import EVENTS, JSON, Operation
from gsi_node.service.places import Places
from gsi_node.service.solving import Solving
from gsi_node.service.streams import StepStream
from gsi_node.spans import span


class SolverService(Service):
    """The compiled node over HTTP. name: what clients ask for. names: of the models, whose folders are not told.
    max_running: runs at a time; max_waiting: further requests, which wait for one to end; any more get 429."""

    unread, full = 400, 429

    def __init__(
        self,
        graph: CompiledWholeRun,
        *,
        name: str,
        names: Iterable[str],
        door: Door,
        max_running: int = 16,
        max_waiting: int = 64,
        patience: float = 30.0,
    ) -> None:
        self._graph, self._name, self._created = graph, name, int(time.time())
        self._places = Places(max_running)
        chats = {JSON: ChatCompletion, EVENTS: ChatChunk}
        operations = [
            Operation("POST", "/v1/chat/completions", "a problem solved, step by step", self._chat, chats, ChatBody),
            Operation("GET", "/v1/models", "the one solver that is served", self._models, {JSON: ModelList}),
            Operation("GET", "/v1/models/{name:path}", "the solver of a name", self._model, {JSON: ModelAbout}),
            Operation("GET", "/health", "how many requests are under way", self._health, {JSON: Probed}),
        ]
        self._run_meters = RunMeters(name, lambda: self.waiting, lambda: self._places.taken)
        super().__init__(
            operations,
            meters=self._run_meters,
            door=door,
            names=names,
            most=max_running + max_waiting,
            patience=patience,
        )

    def refuse(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        kind: str = "RequestRefused",
        param: str | None = None,
    ) -> Response:
        blamed = "server_error" if status >= 500 else "invalid_request_error"
        return refuse(status, message, headers, kind=blamed, param=param, code=kind)

    async def _chat(self, request: Request) -> Response:
        with ExitStack() as held:
            refusal = held.enter_context(self.admitted())
            if refusal is not None:
                return refusal
            try:
                body = await self.read(request, ChatBody)
            except ClientDisconnect:
                return GONE
            refusal = body if isinstance(body, Response) else self._unknown(body.model) or self._unlike(body)
            if refusal is not None:
                return refusal
            assert isinstance(body, ChatBody)
            asked = {"messages": [message.message() for message in body.messages]}
            told = body.told()
            within, bill = self._place(request), self._run_meters.run
            run = Solving(self._graph, asked, body.context(), told=told, within=within, bill=bill)
            held.callback(run.cancel)
            doing = self._begun(run, body, told) if body.stream else self._whole(run, body)
            response = await self.answer(request, doing)
            if isinstance(response, StepStream):
                response.held = held.pop_all()
            return response

    async def _whole(self, run: Solving, body: ChatBody) -> Response:
        return JSONResponse(finite(chat.Completion(body.model).whole(await run.outcome())))

    async def _begun(self, run: Solving, body: ChatBody, told: Told) -> Response:
        """The stream of a run, once its input is read: what is wrong with that gets a status of its own."""
        await run.begun()
        return StepStream(self._events(run, body, told))

    async def _events(self, run: Solving, body: ChatBody, told: Told) -> AsyncIterator[str]:
        completion = chat.Completion(body.model)
        yield chat.event(completion.first())
        try:
            async for record in run.records():
                yield chat.event(completion.step(record))
            outcome = await run.outcome()
        except TimeoutError:
            yield _told(self.refuse(503, OVER))
            return
        except GSIError as error:
            yield _told(self.refusal(error))
            return
        yield chat.event(completion.last(outcome, told.held))
        if body.usage_wanted():
            yield chat.event(completion.usage(outcome))
        yield chat.DONE

    @asynccontextmanager
    async def _place(self, request: Request) -> AsyncIterator[None]:
        """One of the runs at a time, until the service's time is over; the trace of a request begins here."""
        with span(f"chat {self._name}", request.headers) as tell:
            tell({"gen_ai.operation.name": "chat", "gen_ai.request.model": self._name})
            async with timed(self.works, None), self._places.one():
                yield

    def _unknown(self, name: str) -> Response | None:
        if name == self._name:
            return None
        told = f"model: {name[:80]!r} is not served here; it is {self._name!r}"
        return self.refuse(404, told, kind="model_not_found", param="model")

    def _unlike(self, body: ChatBody) -> Response | None:
        """Why this solver cannot run so; temperature and nucleus are of the sampling law, of which it is made."""
        config = cast("WholeRunGraph", self._graph.builder).config
        for name, asked in (("temperature", body.temperature), ("top_p", body.top_p)):
            if asked is not None and asked != (own := getattr(config, name)):
                told = f"{name}: this solver samples at {own:g}, not at {asked:g}: leave it out"
                return self.refuse(400, told, kind="unsupported_value", param=name)
        try:
            overridden(config, body.context())
        except ConfigError as error:
            return self.refuse(400, str(error), kind=type(error).__name__, param="gsi")
        return None

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._about()]})

    async def _model(self, request: Request) -> Response:
        return self._unknown(request.path_params["name"]) or JSONResponse(self._about())

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": self.waiting})

    def _about(self) -> dict[str, Any]:
        return {"id": self._name, "object": "model", "created": self._created, "owned_by": "gsi_node"}


def _told(refusal: Response) -> str:
    """An error in the middle of a stream."""
    return f"data: {bytes(refusal.body).decode()}\n\n"
