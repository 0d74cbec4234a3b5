"""One model or one reward as a service: its routes, and the work behind each, run in a thread."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gsi_node.cancel import run_cancellable
from gsi_node.errors import ConfigError, GSIError, InvalidLogProb
from gsi_node.hearing import Ended, hearing
from gsi_node.protocols import DecodingModel, date_of, name_of, thinking_of
from gsi_node.service import answers, bodies
from gsi_node.service.base import GONE, OVER, Service, public_name
from gsi_node.service.chat import event
from gsi_node.service.door import Door, refuse
from gsi_node.service.meters import ModelMeters
from gsi_node.service.operation import EVENTS, JSON, Operation
from gsi_node.service.streams import StepStream, told_refusal
from gsi_node.types import WIRE, Step

MAX_WAITING = 256  # requests, from the first byte of their bodies on: so uploads take at most 1 GiB


class ModelService(Service):
    """One StepModel or one Reward over HTTP. patience: seconds a body may take.

    Every answer to whoever passed the door carries the fingerprint of what is served.
    """

    def __init__(self, *, model: Any = None, reward: Any = None, door: Door, patience: float = 30.0) -> None:
        served = model if reward is None else reward
        self._model, self._reward = model, reward
        self._fingerprint: str = served.fingerprint
        self._about = {
            "wire": WIRE,
            "name": public_name(name_of(served)),
            "role": "model" if reward is None else "reward",
            "fingerprint": self._fingerprint,
            "vocabulary": model.vocabulary if reward is None else "",
            "eos_ids": list(model.eos_ids) if reward is None else [],
            "prompt_date": date_of(served),
            "thinking": None if (thinking := thinking_of(model)) is None else asdict(thinking),
            "range": None if reward is None else list(reward.range),
            "streams": reward is None,
        }
        told = {JSON: answers.ServedHealth | answers.Probed}
        operations = [Operation("GET", "/health", "what is served, and how many requests wait", self._health, told)]
        if reward is None:
            sampled = {JSON: answers.SampleAnswer, EVENTS: answers.SampleAnswer | answers.EndedSteps}
            operations += [
                self._operation("/sample", "n steps of a prefix", bodies.SampleBody, sampled, self._sampled),
                self._work(
                    "/score", "log-probabilities of steps, nats", bodies.ScoreBody, answers.ScoreAnswer, self._score
                ),
                self._work("/encode", "token ids of a text", bodies.EncodeBody, answers.EncodeAnswer, self._encode),
                self._work("/decode", "what token ids say", bodies.DecodeBody, answers.DecodeAnswer, self._decode),
                self._work(
                    "/supports", "why a law is refused", bodies.SupportsBody, answers.SupportsAnswer, self._supports
                ),
            ]
        else:
            operations.append(
                self._work("/reward", "a reward a step", bodies.RewardBody, answers.RewardAnswer, self._rewards)
            )
        self._model_meters = ModelMeters(public_name(name_of(served)), lambda: self.waiting)
        super().__init__(
            operations,
            meters=self._model_meters,
            door=door,
            names=[name_of(served)],
            most=MAX_WAITING,
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
        return refuse(status, message, headers, kind=kind, param=param, fingerprint=self._fingerprint)

    def _sample(self, body: bodies.SampleBody) -> dict[str, Any]:
        started = time.perf_counter()
        steps = self._model.sample(body.prefix.prefix(), body.n, body.key.key(), body.law.law())
        self._bill("generated", [len(step.token_ids) + step.beyond for step in steps], started)
        return {"steps": list(map(_told, steps))}

    def _score(self, body: bodies.ScoreBody) -> dict[str, Any]:
        started, steps = time.perf_counter(), [step.step() for step in body.steps]
        scores = self._model.score(body.prefix.prefix(), steps, body.law.law())
        self._bill("scored", [len(step.token_ids) for step in steps], started)
        return {"scores": [[_plain(s[0]), _plain(s[1])] for s in scores]}

    def _rewards(self, body: bodies.RewardBody) -> dict[str, Any]:
        started, steps = time.perf_counter(), [step.step() for step in body.steps]
        values = self._reward(body.prefix.prefix(), steps)
        self._bill("scored", [len(step.token_ids) for step in steps], started)
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
            return {"refusal": self.public(error)}
        return {"refusal": None}

    def _bill(self, kind: str, tokens: list[int], started: float) -> None:
        self._model_meters.work(self._about["role"], kind, tokens, time.perf_counter() - started)

    async def _health(self, request: Request) -> Response:
        return JSONResponse({**self._about, "waiting": self.waiting})

    def _work(
        self, path: str, about: str, kind: type[bodies.Body], answer: type, do: Callable[[Any], dict[str, Any]]
    ) -> Operation:
        async def work(body: bodies.Body) -> Response:
            return JSONResponse({**await run_cancellable(do, body), "fingerprint": self._fingerprint})

        return self._operation(path, about, kind, {JSON: answer}, work)

    def _operation(
        self,
        path: str,
        about: str,
        kind: type[bodies.Body],
        told: Mapping[str, Any],
        work: Callable[[Any], Coroutine[Any, Any, Response]],
    ) -> Operation:
        async def handle(request: Request) -> Response:
            with ExitStack() as held:
                refusal = held.enter_context(self.admitted())
                if refusal is not None:
                    return refusal
                try:
                    body = await self.read(request, kind)
                except ClientDisconnect:
                    return GONE
                response = body if isinstance(body, Response) else await self.answer(request, work(body))
                if isinstance(response, StepStream):
                    response.held = held.pop_all()
                return response

        return Operation("POST", path, about, handle, told, kind)

    async def _sampled(self, body: bodies.SampleBody) -> Response:
        """The steps; as a stream once the first have ended, so that what is wrong before has a status of its own."""
        if not body.stream:
            return JSONResponse({**await run_cancellable(self._sample, body), "fingerprint": self._fingerprint})
        loop, ended = asyncio.get_running_loop(), asyncio.Queue[Ended | None]()
        with hearing(partial(_pass_on, loop, ended)):
            work = asyncio.ensure_future(self.working(run_cancellable(self._sample, body)))
        work.add_done_callback(lambda _: ended.put_nowait(None))
        try:
            if (first := await ended.get()) is None:
                work.result()
        except BaseException:
            work.cancel()
            raise
        return StepStream(self._events(work, ended, first))

    async def _events(
        self, work: asyncio.Future[dict[str, Any]], ended: asyncio.Queue[Ended | None], some: Ended | None
    ) -> AsyncIterator[str]:
        try:
            while some is not None:
                steps = [(place, _told(made())) for place, made in some.items()]
                yield event({"ended": steps, "fingerprint": self._fingerprint})
                some = await ended.get()
            yield event({**work.result(), "fingerprint": self._fingerprint})
        except TimeoutError:
            yield told_refusal(self.refuse(503, OVER))
        except GSIError as error:
            yield told_refusal(self.refusal(error))
        finally:
            work.cancel()


def _pass_on(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Ended | None], ended: Ended) -> None:
    """From the thread that draws."""
    try:
        loop.call_soon_threadsafe(queue.put_nowait, ended)
    except RuntimeError:  # the service is over
        return


def _told(step: Step) -> dict[str, Any]:
    told = {name: getattr(step, name) for name in answers.SampledStep.__annotations__}
    return {**told, "log_prob": _plain(step.log_prob), "log_prob_error": _plain(step.log_prob_error)}


def _plain(value: float) -> float | str:
    """A number as JSON has it, and −inf as the client knows it. InvalidLogProb for NaN and +inf."""
    if value == -math.inf:
        return "-inf"
    if not math.isfinite(value):
        raise InvalidLogProb(f"the model gave {value} where a number belongs")
    return float(value)
