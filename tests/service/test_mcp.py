"""The solver as an MCP tool, called by the protocol's own client: in process, and by the command over stdio."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from gsi_node.graph.tool import gsi_tool
from gsi_node.needs import install_extra
from gsi_node.service.mcp_tool import tool_server
from gsi_node.tables.rewards import TableReward
from tests.graph.world import compiled, environment, models, steps_then_answer
from tests.service.running import ended
from tests.service.solvers import Held, until


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
        (("--mcp", "--port", "0"), "", "--port: --mcp speaks over standard input"),
        (("--mcp", "--max-running", "2"), "", "--max-running: --mcp speaks"),
        (("--mcp", "--n", "0"), "", "n: input should be greater"),
        (("--mcp",), "import sys; sys.modules['mcp'] = None", install_extra("mcp")),
        (("--reward", "verifier"), "", "--port is needed"),
    ],
)
def test_what_is_wrong_with_the_call_is_said(arguments: tuple[str, ...], code: str, words: str) -> None:
    found, said = ended(*arguments, code=code)
    assert found == 2 and words in said and said.count("\n") == 1
