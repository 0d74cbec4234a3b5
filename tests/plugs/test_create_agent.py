"""langchain's create_agent: the solver as its model, and as a tool of it."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import GSIChatModel, gsi_tool
from gsi_node.errors import ConfigError
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, thread
from tests.plugs.clients import calls, client, counted, scripted, told

create_agent = client("langchain.agents").create_agent
ASKED = {"messages": [HumanMessage("p")]}


async def test_as_the_model_without_tools_it_answers_as_the_node_does() -> None:
    want = compiled().invoke({"problem": "p"})
    agent = create_agent(GSIChatModel(node=compiled()))
    for found in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        last = found["messages"][-1]
        assert isinstance(last, AIMessage) and last.content == want["response"]
        assert last.response_metadata["gsi"]["answer"] == "7"
        assert last.usage_metadata == want["messages"][-1].usage_metadata


async def test_as_the_model_it_streams_a_chunk_a_committed_step() -> None:
    want = [step["text"] for step in compiled().invoke({"problem": "p"})["steps"]]
    agent = create_agent(GSIChatModel(node=compiled()))
    awaited = [part[0] async for part in agent.astream(ASKED, stream_mode="messages")]
    for chunks in (awaited, [part[0] for part in agent.stream(ASKED, stream_mode="messages")]):
        assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
        assert [chunk.content for chunk in chunks] == [*want, ""]


def test_as_the_model_of_an_agent_with_tools_or_a_schema_it_is_refused() -> None:
    for given in ({"tools": [gsi_tool(compiled())]}, {"response_format": {"title": "x", "type": "object"}}):
        with pytest.raises(ConfigError, match=r"calls no tools and gives no structured output.*gsi_tool\(node\)"):
            create_agent(GSIChatModel(node=compiled()), **given).invoke(ASKED)


@pytest.mark.parametrize("problems", [["p"], ["p", "q"]])
async def test_as_a_tool_each_call_of_a_message_is_answered(problems: list[str]) -> None:
    for how in ("invoke", "ainvoke"):
        model = scripted(calls("solve", *({"problem": one} for one in problems)), AIMessage("done"))
        agent = create_agent(model, tools=[gsi_tool(compiled())])
        found = getattr(agent, how)(ASKED)
        *_, last = messages = (found if how == "invoke" else await found)["messages"]
        answers = [message for message in messages if isinstance(message, ToolMessage)]
        assert [(one.tool_call_id, one.content) for one in answers] == [
            (f"solve-{i}", told(one)) for i, one in enumerate(problems)
        ]
        assert [one.artifact["steps"] for one in answers] == [
            compiled().invoke({"problem": one})["steps"] for one in problems
        ]
        assert model.offered == {"solve"} and model.read[-1] == messages[:-1] and last.content == "done"


async def test_as_a_tool_its_mistaken_caller_is_told() -> None:
    model = scripted(calls("solve", {"problem": " "}, {"problem": "p"}), AIMessage("done"))
    mistaken, right, _ = create_agent(model, tools=[gsi_tool(compiled())]).invoke(ASKED)["messages"][2:]
    assert mistaken.status == "error" and "problem" in mistaken.content
    assert right.status == "success" and right.content == told("p")


@pytest.mark.parametrize("at", [2, 5, 7])
async def test_as_a_tool_its_calls_go_on_after_a_crash(at: int) -> None:
    problems = ["p", "q"]
    whole = 2 * sum(1 for _ in compiled().invoke({"problem": "p"})["steps"])
    for is_async in (False, True):
        parts = crashing("base", "score", at)
        model = scripted(calls("solve", *({"problem": one} for one in problems)), AIMessage("done"))
        agent = create_agent(model, tools=[gsi_tool(compiled(parts=parts))], checkpointer=InMemorySaver())
        with pytest.raises(Crash):
            await agent.ainvoke(ASKED, thread()) if is_async else agent.invoke(ASKED, thread())
        again = counted(parts["draft"])
        found = await agent.ainvoke(None, thread()) if is_async else agent.invoke(None, thread())
        assert [message.content for message in found["messages"][2:]] == [*map(told, problems), "done"]
        assert len(model.read) == 2  # the message that calls the tools stands
        assert len(again) < whole  # and so do the steps that were committed
