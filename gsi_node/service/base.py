"""What every service owes to requests: read within limits, worked on until unwanted, and refused in one form.

A request is unwanted when its client goes away or the service's time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gsi_node.errors import BackendUnavailable, ConfigError, GSIError
from gsi_node.service.door import Door, Guard, refuse
from gsi_node.service.meters import Metered, Meters
from gsi_node.service.openapi import document, page
from gsi_node.service.operation import JSON, Operation

MAX_BODY = 4 << 20  # bytes
GONE = Response(status_code=499)  # nobody reads it
B = TypeVar("B", bound=BaseModel)


class Service:
    """An application whose work can be ended. inside: another, which has the routes that are its own.

    operations: what it answers, besides /metrics, /openapi.json and /docs. names: of what is served; the folders in
    them are nobody's business. most: requests under way at a time, `waiting` of them now. patience: seconds that a body
    may take.
    """

    unread, full = 422, 503  # the status of a body that means nothing, and of a request above `most`

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        meters: Meters,
        door: Door,
        names: Iterable[str],
        most: int,
        patience: float,
        inside: Starlette | None = None,
    ) -> None:
        self.waiting = 0
        self.ending = False
        self._most, self._patience = most, patience
        self._meters = meters
        self.operations = (
            *operations,
            Operation("GET", "/metrics", "numbers for Prometheus", self._metrics, {"text/plain": str}),
            Operation("GET", "/openapi.json", "what can be asked, as an OpenAPI document", self._openapi, {JSON: dict}),
            Operation("GET", "/docs", "what can be asked, to read", self._docs, {"text/html": str}),
        )
        self._names = {name: public_name(name) for name in names}
        self._uploads: set[asyncio.Timeout] = set()
        self.works: set[asyncio.Timeout] = set()
        routes = [Route(one.path, one.handle, methods=[one.method]) for one in self.operations]
        routes += [] if inside is None else [route for route in inside.routes if isinstance(route, Route)]
        self.app = Starlette(
            routes=routes,
            lifespan=None if inside is None else inside.router.lifespan_context,
            middleware=[
                Middleware(Metered, meters=meters, routes={route.path for route in routes}),
                Middleware(Guard, door=door),
            ],
            exception_handlers={HTTPException: self._no_route, Exception: self._broken},
        )
        self.app.router.redirect_slashes = False

    def end(self, grace: float) -> None:
        """Take no more requests, refuse those half read, and let the work under way go on for `grace` seconds."""
        self.ending = True
        now = asyncio.get_running_loop().time()
        for upload in self._uploads:
            upload.reschedule(now)
        for work in self.works:
            work.reschedule(now + grace)

    def refuse(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        kind: str = "RequestRefused",
        param: str | None = None,
    ) -> Response:
        """An answer that says what is wrong. kind: of which kind it is. param: the field of the body to blame."""
        return refuse(status, message, headers, kind=kind, param=param)

    def refusal(self, error: GSIError) -> Response:
        """The answer to a request that ended in an error."""
        status = 503 if isinstance(error, BackendUnavailable) else 400 if isinstance(error, ConfigError) else 500
        return self.refuse(status, self.public(error), kind=type(error).__name__)

    def public(self, error: GSIError) -> str:
        """An error's words, without the folders of what is served."""
        told = str(error)
        for name, shorter in self._names.items():
            told = told.replace(name, shorter)
        return told

    @contextmanager
    def admitted(self) -> Iterator[Response | None]:
        """A request is under way in this block; gives the refusal of one that may not be."""
        if self.ending:
            yield self.refuse(503, "the service is ending")
        elif self.waiting >= self._most:
            yield self.refuse(self.full, f"{self._most} requests are waiting", {"Retry-After": "1"})
        else:
            self.waiting += 1
            try:
                yield None
            finally:
                self.waiting -= 1

    async def read(self, request: Request, kind: type[B]) -> B | Response:
        """The validated body, or what is wrong with it. Raises ClientDisconnect."""
        media, _, parameters = request.headers.get("content-type", "").partition(";")
        if media.strip().lower() != "application/json" or parameters.replace('"', "").strip().lower() not in (
            "",
            "charset=utf-8",
        ):
            return self.refuse(415, "the body must be application/json in UTF-8: set the Content-Type header")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            return self.refuse(415, "the body must not be compressed: leave the Content-Encoding header out")
        raw = bytearray()
        try:
            async with timed(self._uploads, self._patience):
                async for chunk in request.stream():
                    raw += chunk
                    if len(raw) > MAX_BODY:
                        return self.refuse(413, f"a request may have {MAX_BODY} bytes")
        except TimeoutError:
            if self.ending:
                return self.refuse(503, "the service is ending", {"Connection": "close"})
            return self.refuse(408, f"the body did not arrive within {self._patience:g} s", {"Connection": "close"})
        try:
            return kind.model_validate_json(bytes(raw))
        except ValidationError as error:
            if error.error_count() > 100:  # to list them all takes longer than to find them
                return self.refuse(self.unread, f"{error.error_count()} fields are wrong")
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            return self.refuse(self.unread, f"{field or 'body'}: {first['msg']}"[:300], param=field or None)

    async def working(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The value of `work`. Raises TimeoutError where the service's time is over before."""
        async with timed(self.works, None):
            return await work

    async def answer(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        """The answer that `work` makes; ended when the client goes away or the service's time is over."""
        working = asyncio.ensure_future(self.working(work))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else GONE
        except TimeoutError:
            return self.refuse(503, OVER, {"Connection": "close"})
        except GSIError as error:
            return self.refusal(error)
        finally:
            working.cancel()
            leaving.cancel()

    async def _metrics(self, request: Request) -> Response:
        return self._meters.answer()

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(document(self._meters.name, self.operations))

    async def _docs(self, request: Request) -> Response:
        return HTMLResponse(page(document(self._meters.name, self.operations)))

    async def _no_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = f"{request.method} {request.url.path[:80]}: {error.detail}"
        return self.refuse(error.status_code, told, error.headers)

    async def _broken(self, request: Request, error: Exception) -> Response:
        """Whatever a model raises that it should not: its words go to the log, not over the wire."""
        return self.refuse(500, BROKEN, kind=type(error).__name__)


OVER = "the service ended before the work was done"
BROKEN = "the work failed: look into the service's log"


def public_name(name: str) -> str:
    """A name without the folders before it."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


@asynccontextmanager
async def timed(running: set[asyncio.Timeout], seconds: float | None) -> AsyncIterator[None]:
    """This block has so many seconds, and is among those whose end `Service.end` moves."""
    async with asyncio.timeout(seconds) as this:
        running.add(this)
        try:
            yield
        finally:
            running.discard(this)


async def _left(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
