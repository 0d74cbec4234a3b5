"""The answers of the service: requests are read within limits, validated, run in threads, and stopped when unwanted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gsi_node.cancel import run_cancellable
from gsi_node.errors import BackendUnavailable, ConfigError, GSIError, InvalidLogProb
from gsi_node.protocols import DecodingModel, date_of, name_of, thinking_of
from gsi_node.service import bodies
from gsi_node.service.door import Door, Guard, refuse
from gsi_node.types import WIRE

MAX_BODY = 4 << 20  # bytes
MAX_WAITING = 256  # requests, from the first byte of their bodies on: so uploads take at most 1 GiB


class Service:
    """One StepModel or one Reward over HTTP. waiting: requests under way. patience: seconds a body may take.

    Every answer to whoever passed the door carries the fingerprint of what is served.
    """

    def __init__(self, *, model: Any = None, reward: Any = None, door: Door, patience: float = 30.0) -> None:
        served = model if reward is None else reward
        self.waiting = 0
        self.ending = False
        self._model, self._reward, self._patience = model, reward, patience
        self._full_name = name_of(served)
        self._name = self._full_name.replace("\\", "/").rstrip("/").rpartition("/")[2]  # folders are nobody's business
        self._uploads: set[asyncio.Timeout] = set()
        self._works: set[asyncio.Timeout] = set()
        self._fingerprint: str = served.fingerprint
        self._about = {
            "wire": WIRE,
            "name": self._name,
            "role": "model" if reward is None else "reward",
            "fingerprint": self._fingerprint,
            "vocabulary": model.vocabulary if reward is None else "",
            "eos_ids": list(model.eos_ids) if reward is None else [],
            "prompt_date": date_of(served),
            "thinking": None if (thinking := thinking_of(model)) is None else asdict(thinking),
            "range": None if reward is None else list(reward.range),
        }
        work: list[tuple[str, type[bodies.Body], Callable[[Any], dict[str, Any]]]]
        if reward is None:
            work = [("/sample", bodies.SampleBody, self._sample), ("/score", bodies.ScoreBody, self._score)]
            work += [("/encode", bodies.EncodeBody, self._encode), ("/decode", bodies.DecodeBody, self._decode)]
            work.append(("/supports", bodies.SupportsBody, self._supports))
        else:
            work = [("/reward", bodies.RewardBody, self._rewards)]
        self.app = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                *(Route(path, self._endpoint(body, do), methods=["POST"]) for path, body, do in work),
            ],
            middleware=[Middleware(Guard, door=door)],
            exception_handlers={HTTPException: self._no_route, Exception: self._broken},
        )
        self.app.router.redirect_slashes = False

    def end(self, grace: float) -> None:
        """Take no more requests, refuse those half read, and let the work under way go on for `grace` seconds."""
        self.ending = True
        now = asyncio.get_running_loop().time()
        for upload in self._uploads:
            upload.reschedule(now)
        for work in self._works:
            work.reschedule(now + grace)

    def _sample(self, body: bodies.SampleBody) -> dict[str, Any]:
        steps = self._model.sample(body.prefix.prefix(), body.n, body.key.key(), body.law.law())
        return {
            "steps": [
                {**asdict(s), "log_prob": _plain(s.log_prob), "log_prob_error": _plain(s.log_prob_error)} for s in steps
            ]
        }

    def _score(self, body: bodies.ScoreBody) -> dict[str, Any]:
        steps = [step.step() for step in body.steps]
        scores = self._model.score(body.prefix.prefix(), steps, body.law.law())
        return {"scores": [[_plain(s[0]), _plain(s[1])] for s in scores]}

    def _rewards(self, body: bodies.RewardBody) -> dict[str, Any]:
        values = self._reward(body.prefix.prefix(), [step.step() for step in body.steps])
        return {"rewards": [_plain(value) for value in values]}

    def _encode(self, body: bodies.EncodeBody) -> dict[str, Any]:
        return {"token_ids": self._model.encode(body.text)}

    def _decode(self, body: bodies.DecodeBody) -> dict[str, Any]:
        if not isinstance(self._model, DecodingModel):
            raise ConfigError("the served model has no step_of, which would read token ids; leave token_ids out")
        step = self._model.step_of(body.prefix.prefix(), body.token_ids, 0.0)
        return {"text": step.text, "finished": step.finished, "thought": step.thought}

    def _supports(self, body: bodies.SupportsBody) -> dict[str, Any]:
        try:
            self._model.supports(body.law.law())
        except ConfigError as error:
            return {"refusal": self._public(error)}
        return {"refusal": None}

    async def _health(self, request: Request) -> Response:
        return JSONResponse({**self._about, "waiting": self.waiting})

    def _endpoint(
        self, kind: type[bodies.Body], do: Callable[[Any], dict[str, Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            if self.ending:
                return self._refuse(503, "the service is ending")
            if self.waiting >= MAX_WAITING:
                return self._refuse(503, f"{MAX_WAITING} requests are waiting", {"Retry-After": "1"})
            self.waiting += 1
            try:
                body = await self._read(request, kind)
                return body if isinstance(body, Response) else await self._run(request, do, body)
            except ClientDisconnect:
                return _GONE
            finally:
                self.waiting -= 1

        return handle

    async def _read(self, request: Request, kind: type[bodies.Body]) -> bodies.Body | Response:
        """The validated body, or what is wrong with it."""
        media, _, parameters = request.headers.get("content-type", "").partition(";")
        if media.strip().lower() != "application/json" or parameters.replace('"', "").strip().lower() not in (
            "",
            "charset=utf-8",
        ):
            return self._refuse(415, "the body must be application/json in UTF-8: set the Content-Type header")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            return self._refuse(415, "the body must not be compressed: leave the Content-Encoding header out")
        raw = bytearray()
        try:
            async with asyncio.timeout(self._patience) as upload:
                with _among(self._uploads, upload):
                    async for chunk in request.stream():
                        raw += chunk
                        if len(raw) > MAX_BODY:
                            return self._refuse(413, f"a request may have {MAX_BODY} bytes")
        except TimeoutError:
            if self.ending:
                return self._refuse(503, "the service is ending", {"Connection": "close"})
            return self._refuse(408, f"the body did not arrive within {self._patience:g} s", {"Connection": "close"})
        try:
            return kind.model_validate_json(bytes(raw))
        except ValidationError as error:
            if error.error_count() > 100:  # to list them all takes longer than to find them
                return self._refuse(422, f"{error.error_count()} fields are wrong")
            first = error.errors(include_input=False, include_url=False)[0]
            return self._refuse(422, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"[:300])

    async def _run(self, request: Request, do: Callable[[Any], dict[str, Any]], body: bodies.Body) -> Response:
        """The answer of do(body), run in a thread; stopped when the client goes away or the service's time is over."""
        working = asyncio.ensure_future(run_cancellable(do, body))
        leaving = asyncio.ensure_future(_left(request))
        try:
            async with asyncio.timeout(None) as work:
                with _among(self._works, work):
                    await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return _GONE
            return JSONResponse({**working.result(), "fingerprint": self._fingerprint})
        except TimeoutError:
            return self._refuse(503, "the service ended before the work was done", {"Connection": "close"})
        except GSIError as error:
            status = 503 if isinstance(error, BackendUnavailable) else 400 if isinstance(error, ConfigError) else 500
            return self._refuse(status, self._public(error), kind=type(error).__name__)
        finally:
            working.cancel()
            leaving.cancel()

    def _refuse(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, *, kind: str = "RequestRefused"
    ) -> Response:
        return refuse(status, message, headers, kind=kind, fingerprint=self._fingerprint)

    def _public(self, error: GSIError) -> str:
        """An error's words, without the folder of what is served."""
        return str(error).replace(self._full_name, self._name)

    async def _no_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._refuse(
            error.status_code, f"{request.method} {request.url.path[:80]}: {error.detail}", error.headers
        )

    async def _broken(self, request: Request, error: Exception) -> Response:
        """Whatever a model raises that it should not: its words go to the log, not over the wire."""
        return self._refuse(500, "the work failed: look into the service's log", kind=type(error).__name__)


_GONE = Response(status_code=499)  # nobody reads it


async def _left(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextmanager
def _among(running: set[asyncio.Timeout], this: asyncio.Timeout) -> Iterator[None]:
    running.add(this)
    try:
        yield
    finally:
        running.discard(this)


def _plain(value: float) -> float | str:
    """A number as JSON has it, and −inf as the client knows it. InvalidLogProb for NaN and +inf."""
    if value == -math.inf:
        return "-inf"
    if not math.isfinite(value):
        raise InvalidLogProb(f"the model gave {value} where a number belongs")
    return float(value)
