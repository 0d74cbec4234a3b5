"""What OpenAI's API around the node costs: one run by a call of the node, and the same run asked for over HTTP.

Table models, whose forwards cost nothing, so that all of it is LangGraph, JSON and HTTP; client and service share one
process, on loopback.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
from rich.table import Table

from gsi_node.graph.build import compile_gsi
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.service.door import Door
from gsi_node.service.endpoint import SolverService
from gsi_node.service.server import in_thread
from gsi_node.step.config import GSIConfig
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward

BODY: dict[str, Any] = {"model": "gsi", "messages": [{"role": "user", "content": "p"}]}
PATH = "/v1/chat/completions"
TITLE = "gsi bench --endpoint, table models"


def line(length: int) -> CompiledWholeRun:
    """A solver whose response has `length` equal steps."""
    model = TableModel(lambda prefix: {"go on\n\n" if len(prefix.steps) < length - 1 else "end": 1.0}, name="line")
    reward = TableReward({"go on\n\n": 0.9, "end": 0.9})
    return compile_gsi(draft=model, base=model, reward=reward, config=GSIConfig(n=8, max_steps=length))


def table(length: int, repeats: int) -> Table:
    """Median milliseconds of a run of `length` steps, asked for in three ways that take turns; the first of each is not
    counted. CPU: of client and service together, which a busy machine does not change."""
    graph = line(length)
    with (
        in_thread(SolverService(graph, name="gsi", names=[], door=Door(None))) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=600.0) as client,
        asyncio.Runner() as runner,
    ):
        ways: dict[str, Callable[[], object]] = {
            "node": lambda: runner.run(graph.ainvoke({"problem": "p"})),
            "whole": lambda: client.post(PATH, json=BODY).raise_for_status(),
            "stream": lambda: client.post(PATH, json={**BODY, "stream": True}).raise_for_status(),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(repeats + 1):
            for name, way in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                way()
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    made = Table("asked", "ms a run", "over the node", "CPU ms", "over the node", title=f"{TITLE}, {length} steps")
    node = _medians(times["node"])
    made.add_row("the node, ainvoke", f"{node[0]:.1f}", "", f"{node[1]:.1f}", "")
    for name, what in (("whole", "the endpoint, whole"), ("stream", "the endpoint, streamed")):
        found = _medians(times[name])
        pairs = ((value, f"{value - own:+.1f}") for value, own in zip(found, node, strict=True))
        made.add_row(what, *(cell for value, over in pairs for cell in (f"{value:.1f}", over)))
    return made


def _medians(times: list[tuple[float, float]]) -> list[float]:
    """Of wall and CPU seconds, in milliseconds."""
    return [1000 * statistics.median(column) for column in zip(*times[1:], strict=True)]
