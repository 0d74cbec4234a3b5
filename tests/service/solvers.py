"""Solvers of table models as services, and OpenAI's own client for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
from openai import OpenAI

from gsi_node.cancel import check_cancelled
from gsi_node.service.door import Door
from gsi_node.service.endpoint import SolverService
from gsi_node.service.server import in_thread
from gsi_node.tables.models import TableModel
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.world import compiled
from tests.service.running import OPEN


@contextmanager
def solver(*, parts: dict[str, Any] | None = None, door: Door = OPEN, **more: Any) -> Iterator[str]:
    """The address of a solver of table models. more: of GSIConfig, and max_running, max_waiting."""
    bounds = {name: more.pop(name) for name in ("max_running", "max_waiting") if name in more}
    graph = compiled(parts=parts, **more)
    with in_thread(SolverService(graph, name="gsi", names=[], door=door, **bounds)) as url:
        yield url


@contextmanager
def client(url: str, **more: Any) -> Iterator[OpenAI]:
    """OpenAI's client, which tries nothing again."""
    given: dict[str, Any] = {"api_key": "none", "max_retries": 0, **more}
    with OpenAI(base_url=f"{url}/v1", http_client=httpx2.Client(trust_env=False), **given) as found:
        yield found


BODY: dict[str, Any] = {"model": "gsi", "messages": [{"role": "user", "content": "p"}]}
CHAT = "/v1/chat/completions"


def chat(url: str, *, seconds: float = 60.0, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    """An answer to the problem p, asked without OpenAI's client. seconds: that it may take."""
    return httpx.post(f"{url}{CHAT}", json={**BODY, **more}, headers=headers, trust_env=False, timeout=seconds)


def under_way(url: str) -> int:
    """Requests that run or wait."""
    return int(httpx.get(f"{url}/health", trust_env=False, timeout=60.0).json()["waiting"])


class Held(TableModel):
    """Answers its first `free` calls, the others once it is let go; and tells how many came, and how many ended."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.held, self.free, self.calls, self.ended = True, 0, 0, 0

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.calls += 1
        try:
            while self.held and self.calls > self.free:
                check_cancelled()
                time.sleep(0.005)
            return super().sample(prefix, n, key, law)
        finally:
            self.ended += 1


def until(true: Any, seconds: float = 60.0) -> None:
    """Waits for something; AssertionError where it does not come."""
    for _ in range(int(seconds / 0.01)):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")
