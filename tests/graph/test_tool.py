"""gsi_tool: what an agent's model is told of a run, what it is not, and what becomes of calls side by side."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send
from typing_extensions import TypedDict

from gsi_node import gsi_tool
from tests.graph.talk import solver
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, plain, thread


def call(problem: str, number: int = 0) -> dict[str, Any]:
    return {"type": "tool_call", "id": str(number), "name": "solve", "args": {"problem": problem}}


async def test_content_is_the_answer_and_the_reasoning_and_the_artifact_the_rest() -> None:
    want = compiled().invoke({"problem": "p"})
    tool = gsi_tool(compiled())
    for message in (tool.invoke(call("p")), await tool.ainvoke(call("p"))):
        assert isinstance(message, ToolMessage) and message.status == "success"
        assert message.content == f"Answer: 7\n\n{want['response']}"
        found, rest = plain({**message.artifact, "messages": []}), plain({**want, "messages": []})
        assert found == rest and json.loads(json.dumps(message.artifact)) == message.artifact
        ids = {i for step in want["steps"] for i in step["token_ids"]}
        assert message.artifact["steps"][0]["token_ids"] and ids
        assert "token_ids" not in message.content and str(want["steps"][0]["token_ids"]) not in message.content
    short = gsi_tool(compiled(max_steps=2)).invoke("p")
    assert short.startswith("No answer: max_steps\n\n")


def test_its_one_argument_is_the_problem() -> None:
    tool = gsi_tool(compiled(), name="sum", description="Adds.")
    asked: Any = tool.tool_call_schema
    schema = asked.model_json_schema()
    assert (schema["title"], schema["description"], list(schema["properties"])) == ("sum", "Adds.", ["problem"])
    assert schema["required"] == ["problem"] and schema["properties"]["problem"]["type"] == "string"


@pytest.mark.parametrize("args", [{"problem": " "}, {"problem": "\ud800"}, {}, {"problem": "p", "n": 3}])
def test_a_call_that_cannot_be_meant_is_told_to_the_model_that_made_it(args: dict[str, Any]) -> None:
    found = agent([call("p") | {"args": args}]).invoke({"messages": []})["messages"][-1]
    assert found.status == "error" and "problem" in found.content + str(args)


def test_the_solver_is_a_tool_too() -> None:
    message = gsi_tool(solver()).invoke(call("2 + 2?"))
    assert message.content.startswith("Answer: ") and message.artifact["votes"]


class Desk(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]


def agent(calls: list[Any], node: Any = None, saver: Any = None, *, apart: bool = True) -> Any:
    """A model that makes these calls, and their results. apart: each as a task, as create_agent has it."""
    graph: StateGraph[Any] = StateGraph(Desk)
    tools: Any = ToolNode([gsi_tool(node or compiled())])
    graph.add_node("model", lambda state: {"messages": [AIMessage("", tool_calls=calls)]})
    graph.add_node("tools", tools)
    graph.add_edge(START, "model")
    if apart:
        graph.add_conditional_edges("model", lambda state: [Send("tools", [one]) for one in calls], ["tools"])
    else:
        graph.add_edge("model", "tools")
    graph.add_edge("tools", END)
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("saver", [True, False])
async def test_parallel_calls_give_what_each_gives_alone(saver: bool, apart: bool) -> None:
    problems = [f"p{i}" for i in range(4)]
    want = [compiled().invoke({"problem": problem})["steps"] for problem in problems]
    calls = [call(problem, i) for i, problem in enumerate(problems)]
    for how in ("invoke", "ainvoke"):
        graph = agent(calls, saver=InMemorySaver() if saver else None, apart=apart)
        with get_usage_metadata_callback() as found:
            result = getattr(graph, how)({"messages": []}, thread())
            messages = (result if how == "invoke" else await result)["messages"][1:]
        assert [message.tool_call_id for message in messages] == ["0", "1", "2", "3"]
        assert [message.artifact["steps"] for message in messages] == want
        bills = [bill for message in messages for bill in message.artifact["usage"].values()]
        assert found.usage_metadata["gsi"]["output_tokens"] == sum(bill["generated_tokens"] for bill in bills)


@pytest.mark.parametrize("at", [2, 5, 9])
def test_after_a_crash_each_call_goes_on_as_itself(at: int) -> None:
    problems = [f"p{i}" for i in range(3)]
    want = [compiled().invoke({"problem": problem})["steps"] for problem in problems]
    parts = crashing("base", "score", at)
    graph = agent([call(problem, i) for i, problem in enumerate(problems)], compiled(parts=parts), InMemorySaver())
    with pytest.raises(Crash):
        graph.invoke({"messages": []}, thread())
    calls: list[int] = []
    sample = parts["draft"].sample

    def counted(*args: Any) -> Any:
        calls.append(1)
        return sample(*args)

    parts["draft"].sample = counted
    messages = graph.invoke(None, thread())["messages"][1:]
    assert [message.artifact["steps"] for message in messages] == want
    assert len(calls) < sum(len(steps) for steps in want)  # what was decided before is not decided again
