"""The node inside other people's graphs."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send

from gsi_node.graph.build import compile_gsi, create_gsi
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, config, models, plain, thread


class Parent(TypedDict, total=False):
    problem: str
    answer: str
    response: str
    steps: list[dict[str, Any]]
    usage: dict[str, Any]
    first: list[dict[str, Any]]
    mine: str
    messages: Annotated[list[AnyMessage], add_messages]


def two_nodes(checkpointer: Any = None, parts: dict[str, Any] | None = None) -> Any:
    graph: StateGraph[Any] = StateGraph(Parent)
    graph.add_node("one", compiled())
    graph.add_node("between", lambda state: {"first": state["steps"], "problem": "another"})
    graph.add_node("two", compiled(parts=parts))
    for a, b in ((START, "one"), ("one", "between"), ("between", "two"), ("two", END)):
        graph.add_edge(a, b)
    return graph.compile(checkpointer=checkpointer)


def test_two_nodes_in_one_parent_do_not_mix() -> None:
    out = two_nodes().invoke({"problem": "p", "mine": "kept"})
    one, two = compiled().invoke({"problem": "p"}), compiled().invoke({"problem": "another"})
    assert out["first"] == one["steps"] and out["steps"] == two["steps"]
    assert out["usage"]["draft"]["calls"] == two["usage"]["draft"]["calls"]
    assert out["mine"] == "kept"
    assert [m.content for m in out["messages"]] == [one["response"], two["response"]]
    assert not [key for key in out if key.startswith("gsi_")]


def test_a_nodes_messages_are_added_once() -> None:
    out = two_nodes().invoke({"problem": "p", "messages": [HumanMessage("hello")]})
    assert len(out["messages"]) == 3


@pytest.mark.parametrize("where", ["one", "two"])
def test_a_crash_inside_a_mounted_node_resumes_inside_it(where: str, tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        parts = crashing("base", "score", 3)
        graph: StateGraph[Any] = StateGraph(Parent)
        graph.add_node("one", compiled(parts=parts if where == "one" else None))
        graph.add_node("two", compiled(parts=parts if where == "two" else None))
        for a, b in ((START, "one"), ("one", "two"), ("two", END)):
            graph.add_edge(a, b)
        parent = graph.compile(checkpointer=saver)
        with pytest.raises(Crash):
            parent.invoke({"problem": "p"}, thread())
        calls = 0
        sample = parts["draft"].sample

        def counted(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            return sample(*args)

        parts["draft"].sample = counted
        out = parent.invoke(None, thread())
        assert out["steps"] == compiled().invoke({"problem": "p"})["steps"]
        assert calls == 3  # of six steps, three were drafted before the crash


class Many(TypedDict, total=False):
    problems: list[str]
    samples: Annotated[list[dict[str, Any]], operator.add]


def fan_out(checkpointer: Any = None) -> Any:
    node = compiled()

    def solve(state: Any) -> dict[str, Any]:
        return {"samples": [plain(node.invoke(state))]}

    async def asolve(state: Any) -> dict[str, Any]:
        return {"samples": [plain(await node.ainvoke(state))]}

    graph: StateGraph[Any] = StateGraph(Many)
    both: Any = RunnableLambda(solve, asolve)
    graph.add_node("solve", both)
    graph.add_conditional_edges(START, lambda s: [Send("solve", {"problem": p}) for p in s["problems"]], ["solve"])
    graph.add_edge("solve", END)
    return graph.compile(checkpointer=checkpointer)


@pytest.mark.parametrize("saver", [False, True])
async def test_parallel_sends(saver: bool) -> None:
    problems = [f"p{i}" for i in range(5)]
    want = [plain(compiled().invoke({"problem": p})) for p in problems]
    graph = fan_out(InMemorySaver() if saver else None)
    assert graph.invoke({"problems": problems}, thread("a"))["samples"] == want
    assert (await graph.ainvoke({"problems": problems}, thread("b")))["samples"] == want


async def test_a_pipe() -> None:
    node = compiled()
    chain = RunnableLambda(lambda text: {"problem": text}) | node | RunnableLambda(lambda out: out["response"])
    want = node.invoke({"problem": "p"})["response"]
    assert chain.invoke("p") == want
    assert await chain.ainvoke("p") == want
    assert chain.batch(["p", "p"]) == [want, want]


def test_streaming_out_of_a_mounted_node() -> None:
    parts = list(two_nodes().stream({"problem": "p"}, stream_mode="custom", subgraphs=True))
    assert [event["gsi_step"]["index"] for _, event in parts] == list(range(6)) * 2


class Extra(TypedDict, total=False):
    topic: str
    seen: Annotated[list[str], operator.add]


def test_custom_state_passes_through() -> None:
    node = compile_gsi(**models(), config=config(), state_schema=Extra)
    out = node.invoke({"problem": "p", "topic": "sums", "seen": ["a"]})
    assert (out["topic"], out["seen"]) == ("sums", ["a"])
    assert out["steps"] == compiled().invoke({"problem": "p"})["steps"]
    graph = create_gsi(**models(), config=config(), state_schema=Extra)
    graph.add_node("note", lambda state: {"seen": [state["topic"]]})
    graph.add_edge("begin", "note")
    out = graph.compile().invoke({"problem": "p", "topic": "sums"})
    assert out["seen"] == ["sums"] and out["stop_reason"] == "eos"


def test_langgraphs_tools_can_describe_the_node() -> None:
    node = compile_gsi(**models(), config=config(), state_schema=Extra)
    assert {"problem", "messages", "topic"} <= set(node.get_input_jsonschema()["properties"])
    assert {"answer", "steps", "usage", "topic"} <= set(node.get_output_jsonschema()["properties"])
    assert "beta" in (node.get_context_jsonschema() or {})["properties"]


def test_the_drawing_names_the_nodes() -> None:
    drawing = compiled().get_graph().draw_mermaid()
    for node in ("draft", "reward", "score_base", "tilt_and_accept", "fallback"):
        assert node in drawing
    assert compiled().name == "gsi"
