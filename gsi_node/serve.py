"""python -m gsi_node.serve --model SPEC --port P: the in-process engine as a service, with its cache and batching.

    POST /sample /score /encode /supports (a model)    POST /reward (a reward)    GET /health

Token ids in and out; `remote:http://HOST:PORT` is the client. Requests are validated and bounded in size; work stops
when its client goes away. It listens on 127.0.0.1 unless --host says otherwise. Where the environment variable
GSI_API_KEY is set, requests must carry it as a bearer token.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import math
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gsi_node.cancel import run_cancellable
from gsi_node.errors import BackendUnavailable, ConfigError, GSIError
from gsi_node.load import load_model, load_reward
from gsi_node.shell import ending
from gsi_node.types import Key, Prefix, SamplingLaw, Step

MAX_BODY = 4 << 20  # bytes
MAX_WAITING = 256  # requests
Id = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StepBody(_Body):
    """A step without its numbers."""

    text: Annotated[str, Field(max_length=1 << 16)]
    token_ids: Annotated[tuple[Id, ...], Field(max_length=1 << 14)]
    finished: bool

    def step(self) -> Step:
        return Step(self.text, self.token_ids, 0.0, self.finished)


Steps = Annotated[tuple[StepBody, ...], Field(max_length=256)]


class PrefixBody(_Body):
    problem: Annotated[str, Field(max_length=1 << 18)]
    steps: Annotated[tuple[StepBody, ...], Field(max_length=4096)]

    def prefix(self) -> Prefix:
        return Prefix(self.problem, tuple(step.step() for step in self.steps))


class LawBody(_Body):
    temperature: Annotated[float, Field(gt=0, le=100)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_step_tokens: Annotated[int, Field(ge=1, le=1 << 14)]
    stop_ids: Annotated[tuple[Id, ...], Field(max_length=1 << 17)] | None

    def law(self) -> SamplingLaw:
        return SamplingLaw(self.temperature, self.top_p, self.max_step_tokens, self.stop_ids)


class KeyBody(_Body):
    seed: int
    problem_id: Annotated[str, Field(max_length=4096)]
    step: Annotated[int, Field(ge=0)]
    phase: Annotated[str, Field(max_length=256)]

    def key(self) -> Key:
        return Key(self.seed, self.problem_id, self.step, self.phase)


class SampleBody(_Body):
    prefix: PrefixBody
    n: Annotated[int, Field(ge=1, le=256)]
    key: KeyBody
    law: LawBody


class ScoreBody(_Body):
    prefix: PrefixBody
    steps: Steps
    law: LawBody


class RewardBody(_Body):
    prefix: PrefixBody
    steps: Steps


class EncodeBody(_Body):
    text: Annotated[str, Field(max_length=1 << 18)]


class SupportsBody(_Body):
    law: LawBody


def app(*, model: Any = None, reward: Any = None) -> Starlette:
    """The service of one StepModel or one Reward."""
    served = model if reward is None else reward
    service = _Service(served)

    def sample(body: SampleBody) -> Any:
        steps = model.sample(body.prefix.prefix(), body.n, body.key.key(), body.law.law())
        return {
            "steps": [
                {"text": s.text, "token_ids": s.token_ids, "log_prob": _plain(s.log_prob), "finished": s.finished}
                for s in steps
            ]
        }

    def score(body: ScoreBody) -> Any:
        scores = model.score(body.prefix.prefix(), [step.step() for step in body.steps], body.law.law())
        return {"scores": [[_plain(s[0]), _plain(s[1])] for s in scores]}

    def rewards(body: RewardBody) -> Any:
        values = reward(body.prefix.prefix(), [step.step() for step in body.steps])
        return {"rewards": [_plain(value) for value in values]}

    def encode(body: EncodeBody) -> Any:
        return {"token_ids": model.encode(body.text)}

    def supports(body: SupportsBody) -> Any:
        try:
            model.supports(body.law.law())
        except ConfigError as error:
            return {"refusal": str(error)}
        return {"refusal": None}

    async def health(request: Request) -> Response:
        return JSONResponse(
            {
                "name": str(getattr(served, "name", type(served).__name__)),
                "role": "model" if reward is None else "reward",
                "fingerprint": served.fingerprint,
                "vocabulary": getattr(served, "vocabulary", ""),
                "stop_ids": list(getattr(served, "stop_ids", ())),
                "range": None if reward is None else list(reward.range),
                "waiting": service.waiting,
            }
        )

    work: list[tuple[str, type[_Body], Callable[[Any], Any]]]
    if reward is None:
        work = [("/sample", SampleBody, sample), ("/score", ScoreBody, score)]
        work += [("/encode", EncodeBody, encode), ("/supports", SupportsBody, supports)]
    else:
        work = [("/reward", RewardBody, rewards)]
    routes = [Route(path, service.endpoint(body, do), methods=["POST"]) for path, body, do in work]
    return Starlette(routes=[Route("/health", health), *routes])


class _Service:
    """Reads, validates, runs and answers requests. waiting: those under way."""

    def __init__(self, served: Any) -> None:
        self.served = served
        self.waiting = 0

    def endpoint(self, kind: type[_Body], do: Callable[[Any], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            key = os.environ.get("GSI_API_KEY", "")
            if key and not hmac.compare_digest(
                request.headers.get("Authorization", "").encode(), f"Bearer {key}".encode()
            ):
                return _refuse(401, "a key is needed")
            if self.waiting >= MAX_WAITING:
                return _refuse(503, f"{MAX_WAITING} requests are waiting", {"Retry-After": "1"})
            raw = bytearray()
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > MAX_BODY:
                    return _refuse(413, f"a request may have {MAX_BODY} bytes")
            try:
                body = kind.model_validate_json(bytes(raw))
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                return _refuse(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
            self.waiting += 1
            try:
                return await self._run(request, do, body)
            finally:
                self.waiting -= 1

        return handle

    async def _run(self, request: Request, do: Callable[[Any], Any], body: _Body) -> Response:
        """The answer of do(body), run in a thread; stopped when the client goes away."""
        working = asyncio.ensure_future(run_cancellable(do, body))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                return Response(status_code=499)
            return JSONResponse(working.result())
        except BackendUnavailable as error:
            return _refuse(503, str(error))
        except ConfigError as error:
            return _refuse(400, str(error))
        except GSIError as error:
            return _refuse(500, str(error))
        finally:
            leaving.cancel()


async def _left(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message}}, status_code=status, headers=headers)


def _plain(value: float) -> float | str:
    return "-inf" if value == -math.inf else float(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Load the model or reward, and serve it until interrupted. 2: the call must change."""
    parser = argparse.ArgumentParser(prog="python -m gsi_node.serve", description="Serve a model or a reward.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="SPEC", help="a language model, e.g. pocket:base or hf:/models/base")
    what.add_argument("--reward", metavar="SPEC", help="a reward model, e.g. pocket or prm:/models/prm")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    found = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        parts = {"model": load_model(found.model)} if found.model else {"reward": load_reward(found.reward)}
    except GSIError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    uvicorn.run(app(**parts), host=found.host, port=found.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    with ending():
        sys.exit(main())
