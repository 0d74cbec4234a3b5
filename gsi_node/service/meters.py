"""What a service tells Prometheus: requests, their queue and seconds; a model's tokens, calls and seconds; steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gsi_node.types import Plain

LATENCY = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)  # seconds


class Meters:
    """The numbers of one service, under the name of what it serves. under_way: how many requests are."""

    def __init__(self, name: str, under_way: Callable[[], int]) -> None:
        self.name = name
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gsi_requests", "Requests answered", ("model", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "gsi_request_seconds",
            "Wall seconds from a request's head to its last byte",
            ("model", "route"),
            registry=self.registry,
            buckets=LATENCY,
        )
        waiting = Gauge("gsi_requests_under_way", "Running or waiting", ("model",), registry=self.registry)
        waiting.labels(name).set_function(under_way)
        self._tokens = self._counter("gsi_tokens", "Tokens by the model that generated or scored them", "role", "kind")
        self._calls = self._counter("gsi_model_calls", "Calls of a model", "role")
        self._model_seconds = self._counter("gsi_model_seconds", "Wall seconds of a model's calls", "role")

    def _counter(self, what: str, about: str, *labels: str) -> Counter:
        return Counter(what, about, ("model", *labels), registry=self.registry)

    def answer(self) -> Response:
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(self.name, route, status).inc()
        self._seconds.labels(self.name, route).observe(seconds)

    def bill(self, role: str, usage: Mapping[str, float]) -> None:
        """What a model was asked for. usage: the fields of Usage."""
        for kind in ("generated", "scored"):
            self._tokens.labels(self.name, role, kind).inc(usage[f"{kind}_tokens"])
        self._calls.labels(self.name, role).inc(usage["calls"])
        self._model_seconds.labels(self.name, role).inc(usage["seconds"])


class ModelMeters(Meters):
    """Those of one model or reward."""

    def __init__(self, name: str, under_way: Callable[[], int]) -> None:
        super().__init__(name, under_way)
        self._steps = self._counter("gsi_model_steps", "Steps that a model generated or scored", "role", "kind")

    def work(self, role: str, kind: str, tokens: Sequence[int], seconds: float) -> None:
        """One call. kind: what was done with the steps, "generated" or "scored". tokens: of each step."""
        counted = {f"{one}_tokens": sum(tokens) if one == kind else 0 for one in ("generated", "scored")}
        self.bill(role, {**counted, "calls": 1, "seconds": seconds})
        self._steps.labels(self.name, role, kind).inc(len(tokens))


class RunMeters(Meters):
    """Those of a solver. running: how many runs go on."""

    def __init__(self, name: str, under_way: Callable[[], int], running: Callable[[], int]) -> None:
        super().__init__(name, under_way)
        self._steps = self._counter("gsi_steps", "Decided steps by their source", "source", "accepted")
        runs = Gauge("gsi_runs", "Runs that go on", ("model",), registry=self.registry)
        runs.labels(name).set_function(running)

    def run(self, state: Plain) -> None:
        """What a run cost and decided, however it ended. state: its last."""
        for role, usage in state.get("usage", {}).items():
            self.bill(role, usage)
        for record in state.get("steps", []):
            if record["accepted"] is None:  # given, not decided
                continue
            self._steps.labels(self.name, record["source"], str(record["accepted"]).lower()).inc()


class Metered:
    """Counts every request to an application. routes: those that get a name of their own."""

    def __init__(self, app: ASGIApp, meters: Meters, routes: Collection[str]) -> None:
        self._app, self._meters, self._routes = app, meters, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()  # that of a request which nothing answers

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._meters.request(route, status, time.perf_counter() - started)
