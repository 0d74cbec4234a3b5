"""The solver as an MCP tool, called by the protocol's own client: in process, and by the command over stdio."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from gsi_node.graph.tool import gsi_tool
from gsi_node.needs import install_extra
from gsi_node.service.door import Door
from gsi_node.service.mcp_http import ToolService
from gsi_node.service.mcp_tool import tool_server
from gsi_node.service.server import in_thread
from gsi_node.tables.rewards import TableReward
from tests.graph.world import compiled, environment, models, steps_then_answer
from tests.service.running import OPEN, command, ended
from tests.service.solvers import Held, until
from tests.service.test_metrics import scraped


async def test_the_tool_says_what_the_node_says() -> None:
    wanted = compiled().invoke({"problem": "p"})
    told: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with Client(tool_server(compiled())) as client:
        (tool,) = (await client.list_tools()).tools
        found = await client.call_tool(tool.name, {"problem": "p"}, progress_callback=note)
    assert set(tool.input_schema["properties"]) == set(tool.input_schema["required"]) == {"problem"}
    (content,) = found.content
    same = gsi_tool(compiled())
    assert content.type == "text" and content.text == same.invoke({"problem": "p"})
    assert (tool.name, tool.description) == (same.name, same.description)
    assert wanted["answer"] in content.text and wanted["response"] in content.text
    numbers: Any = found.structured_content
    assert numbers["answer"] == wanted["answer"] and numbers["acceptance_rate"] == wanted["acceptance_rate"]
    assert [step["reward"] for step in numbers["steps"]] == [step["reward"] for step in wanted["steps"]]
    assert "token_ids" not in json.dumps([numbers, content.text]) and not found.is_error
    async with Client(tool_server(compiled(max_steps=2))) as client:
        cut: Any = await client.call_tool("solve", {"problem": "p"})
    assert cut.content[0].text.startswith("No answer: max_steps\n\ngood 0")
    assert told == [(i, step["text"]) for i, step in enumerate(wanted["steps"], 1)]


@pytest.mark.parametrize(
    ("arguments", "words"), [({"problem": " "}, "problem: want a non-empty string"), ({}, "problem")]
)
async def test_what_is_wrong_is_an_error_of_the_call(arguments: dict[str, str], words: str) -> None:
    async with Client(tool_server(compiled())) as client:
        found = await client.call_tool("solve", arguments)
    assert found.is_error and words in str(found.content)


async def test_a_models_error_is_named() -> None:
    parts = {**models(), "reward": TableReward(lambda prefix, step: 7.0, name="reward")}
    async with Client(tool_server(compiled(parts=parts))) as client:
        found = await client.call_tool("solve", {"problem": "p"})
    assert found.is_error and "RewardOutOfRange" in str(found.content)


async def test_a_cancelled_call_ends_its_run() -> None:
    draft = Held(steps_then_answer(0.4, 5), name="draft")
    async with Client(tool_server(compiled(parts={**models(), "draft": draft}))) as client:
        call = asyncio.ensure_future(client.call_tool("solve", {"problem": "p"}))
        await asyncio.to_thread(until, lambda: draft.calls == 1)
        call.cancel()
        await asyncio.to_thread(until, lambda: draft.ended == 1)
    assert draft.calls == 1


@contextmanager
def tool(*, parts: dict[str, Any] | None = None, door: Door = OPEN, **bounds: int) -> Iterator[str]:
    """The address of the tool over HTTP."""
    with in_thread(ToolService(compiled(parts=parts), name="gsi", names=[], door=door, **bounds)) as url:
        yield url


async def called(url: str, key: str | None = None, **more: Any) -> CallToolResult:
    sent = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=sent, trust_env=False, timeout=60.0) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), **more) as client,
    ):
        return await client.call_tool("solve", {"problem": "p"})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tool_over_http(mode: str) -> None:
    """By the protocol's own client, in its present form and in that with a handshake; eight calls at once."""
    wanted = compiled().invoke({"problem": "p"})
    told: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    with tool() as url:
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=60.0) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            one = await client.call_tool("solve", {"problem": "p"}, progress_callback=note)
            all_ = await asyncio.gather(*(client.call_tool("solve", {"problem": "p"}) for _ in range(8)))
        found = scraped(url)
    for result in (one, *all_):
        numbers: Any = result.structured_content
        assert not result.is_error and numbers["answer"] == wanted["answer"]
    assert told == [step["text"] for step in wanted["steps"]]
    generated = wanted["usage"]["draft"]["generated_tokens"]
    assert found["gsi_tokens_total", "kind=generated", "role=draft"] == 9 * generated and found["gsi_runs",] == 0


async def test_over_http_the_door_and_the_bounds_are_those_of_the_other_services() -> None:
    draft = Held(steps_then_answer(0.4, 5), name="draft")
    with tool(parts={**models(), "draft": draft}, door=Door("sesame"), max_running=1, max_waiting=1) as url:
        refused = [
            httpx.post(f"{url}/mcp", json={}, headers=sent, trust_env=False, timeout=60.0).status_code
            for sent in ({}, {"Authorization": "Bearer sesam"}, {"Host": "evil.example"}, {"Origin": "http://a"})
        ]
        assert refused == [401, 401, 421, 403]
        calls = [asyncio.ensure_future(called(url, "sesame")) for _ in range(3)]
        done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        (over,) = done
        assert over.result().is_error and "too many calls waiting" in str(over.result().content)
        draft.held = False
        assert not any([(await call).is_error for call in waiting])


async def test_over_http_a_cancelled_call_ends_its_run() -> None:
    draft = Held(steps_then_answer(0.4, 5), name="draft")
    with tool(parts={**models(), "draft": draft}) as url:
        call = asyncio.ensure_future(called(url))
        await asyncio.to_thread(until, lambda: draft.calls == 1)
        call.cancel()
        await asyncio.to_thread(until, lambda: draft.ended == 1)
    assert draft.calls == 1


async def test_the_command_over_http() -> None:
    with command("--mcp", "--reward", "verifier", "--n", "2", "--max-steps", "2", key="sesame") as service:
        async with (
            httpx2.AsyncClient(headers={"Authorization": "Bearer sesame"}, trust_env=False, timeout=60.0) as http,
            Client(streamable_http_client(f"{service.url}/mcp", http_client=http)) as client,
        ):
            found = await client.call_tool("solve", {"problem": "What is 12 * (7 + 5)?"})
            numbers: Any = found.structured_content
            assert not found.is_error and 1 <= len(numbers["steps"]) <= 2
        code, seconds = await asyncio.to_thread(service.end, signal.SIGINT)
    assert (code, seconds < 6.0) == (130, True) and "Traceback" not in service.said
    assert service.said.startswith(f"serving gsi, listening on {service.url}/mcp\n")


async def test_the_command_over_stdio() -> None:
    given = ["-m", "gsi_node.cli", "serve", "--mcp", "--reward", "verifier", "--n", "2", "--max-steps", "2"]
    server = StdioServerParameters(command=sys.executable, args=given, env=environment())
    async with Client(server) as client:
        found = await client.call_tool("solve", {"problem": "What is 12 * (7 + 5)?"})
    numbers: Any = found.structured_content
    assert not found.is_error and 1 <= len(numbers["steps"]) <= 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--mcp", "--key-file", "nowhere"), "", "--key-file: --mcp without --port speaks over standard input"),
        (("--mcp", "--max-running", "2"), "", "--max-running: --mcp without --port speaks"),
        (("--mcp", "--n", "0"), "", "n: input should be greater"),
        (("--mcp",), "import sys; sys.modules['mcp'] = None", install_extra("mcp")),
        (("--reward", "verifier"), "", "--port is needed"),
    ],
)
def test_what_is_wrong_with_the_call_is_said(arguments: tuple[str, ...], code: str, words: str) -> None:
    found, said = ended(*arguments, code=code)
    assert found == 2 and words in said and said.count("\n") == 1
