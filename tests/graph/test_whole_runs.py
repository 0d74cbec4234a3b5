"""However the node or the solver is called, it does its whole work: no recursion limit, inherited or given, cuts it."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from threading import Thread
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from gsi_node import MathSolver, cancel
from gsi_node.graph.build import create_gsi
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.graph.state import GSIState
from tests.graph.test_compose import Parent
from tests.graph.test_node import OF_STEPS
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, config, models, plain, thread

LENGTH = 20  # steps, of three to four supersteps each
PROBLEM = {"problem": "p"}
LIMITS = [1, 2, 3, 10, 25]


def node(**fields: Any) -> Any:
    return compiled(LENGTH, **fields)


def solver(checkpointer: Any = None) -> Any:
    return MathSolver(**models(LENGTH), config=config()).build().compile(checkpointer=checkpointer)


def bare(out: Any) -> Any:
    """A result, records and token ids, without seconds and message ids."""
    if isinstance(out, dict):
        return {key: bare(value) for key, value in out.items() if key not in ("seconds", "messages")}
    return [bare(value) for value in out] if isinstance(out, list) else out


def mounted(graph: Any) -> Any:
    parent: Any = StateGraph(GSIState)
    parent.add_node("solve", graph)
    parent.add_edge(START, "solve")
    return parent.compile()


class Sent(TypedDict, total=False):
    n: int
    outs: Annotated[list[Any], operator.add]


def under_send(graph: Any, limit: int) -> Any:
    parent: Any = StateGraph(Sent)
    parent.add_node("solve", lambda state: {"outs": [graph.invoke(PROBLEM)]})
    parent.add_conditional_edges(START, lambda state: [Send("solve", {})] * state["n"], ["solve"])
    return parent.compile().invoke({"n": 3}, {"recursion_limit": limit})["outs"][2]


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def as_a_tool(graph: Any, limit: int) -> Any:
    """The loop of an agent: a model that calls a tool once, then speaks."""
    found: list[Any] = []

    @tool
    def solve(problem: str) -> str:
        """Solve a problem."""
        found.append(graph.invoke({"problem": problem}))
        return str(found[-1]["answer"])

    def model(state: Any) -> Any:
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": [AIMessage(state["messages"][-1].content)]}
        call = {"name": "solve", "args": PROBLEM, "id": "1", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    agent: Any = StateGraph(Chat)
    agent.add_node("model", model)
    agent.add_node("tools", ToolNode([solve]))
    agent.add_edge(START, "model")
    agent.add_conditional_edges("model", lambda s: "tools" if s["messages"][-1].tool_calls else END, ["tools", END])
    agent.add_edge("tools", "model")
    out = agent.compile().invoke({"messages": [HumanMessage("p")]}, {"recursion_limit": max(limit, 5)})
    assert out["messages"][-1].content == found[0]["answer"]
    return found[0]


def by_events(graph: Any, limit: int) -> Any:
    async def last() -> Any:
        events = graph.astream_events(PROBLEM, {"recursion_limit": limit}, version="v2")
        return [event async for event in events][-1]["data"]["output"]

    return asyncio.run(last())


def by_as_tool(graph: Any, limit: int) -> Any:
    with suppress_langchain_beta_warning():
        made = graph.as_tool(arg_types={"problem": str}, name="solve", description="Solve a problem.")
        return made.invoke(PROBLEM, {"recursion_limit": limit})


def to_a_dict(chain: Any) -> Any:
    return RunnableLambda(lambda text: {"problem": text}) | chain


WAYS: dict[str, Callable[[Any, int], Any]] = {
    "invoke": lambda graph, limit: graph.invoke(PROBLEM, {"recursion_limit": limit}),
    "ainvoke": lambda graph, limit: asyncio.run(graph.ainvoke(PROBLEM, {"recursion_limit": limit})),
    "batch": lambda graph, limit: graph.batch([PROBLEM] * 2, {"recursion_limit": limit})[1],
    "batch without a config": lambda graph, limit: graph.batch([PROBLEM] * 2)[1],
    "batch, at most so many": lambda graph, limit: graph.batch([PROBLEM] * 2, config={"max_concurrency": 16})[1],
    "abatch": lambda graph, limit: asyncio.run(graph.abatch([PROBLEM] * 2, {"recursion_limit": limit}))[1],
    "abatch, at most so many": lambda graph, limit: asyncio.run(graph.abatch([PROBLEM], {"max_concurrency": 2}))[0],
    "batch_as_completed": lambda graph, limit: next(graph.batch_as_completed([PROBLEM], {"recursion_limit": limit}))[1],
    "stream": lambda graph, limit: list(graph.stream(PROBLEM, {"recursion_limit": limit}, stream_mode="values"))[-1],
    "astream_events": by_events,
    "a pipe": lambda graph, limit: to_a_dict(graph).invoke("p", {"recursion_limit": limit}),
    "a pipe without a config": lambda graph, limit: to_a_dict(graph).invoke("p"),
    "a pipe, async": lambda graph, limit: asyncio.run(to_a_dict(graph).ainvoke("p")),
    "a batch of pipes": lambda graph, limit: to_a_dict(graph).batch(["p", "p"], {"max_concurrency": 2})[1],
    "with_config": lambda graph, limit: graph.with_config({"recursion_limit": limit}).invoke(PROBLEM),
    "with_config, batch": lambda graph, limit: graph.with_config({"tags": ["t"]}).batch([PROBLEM])[0],
    "with_retry": lambda graph, limit: graph.with_retry().invoke(PROBLEM, {"recursion_limit": limit}),
    "a copy": lambda graph, limit: graph.copy().batch([PROBLEM])[0],
    "as_tool": by_as_tool,
    "a tool of an agent": as_a_tool,
    "a lambda that gives it back": lambda graph, limit: RunnableLambda(lambda given: graph).invoke(PROBLEM),
    "Sends": under_send,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [node, solver])
def test_every_way_of_calling_is_equal_to_invoke(way: str, make: Callable[[], Any]) -> None:
    graph = make()
    want = graph.invoke(PROBLEM)
    assert len(want["steps"]) == LENGTH + 1 and want["stop_reason"] == "eos"
    out = WAYS[way](graph, 3)
    assert {key: bare(out)[key] for key in want if key != "messages"} == bare(want)


def test_invoke_from_the_main_thread_is_one_thread_and_not_one_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Counted(Thread):
        def start(self) -> None:
            started.append(self.name)
            super().start()

    monkeypatch.setattr(cancel, "Thread", Counted)
    assert len(node().invoke(PROBLEM)["steps"]) == LENGTH + 1
    assert started == ["gsi-run"]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("make", [node, solver])
def test_a_given_limit_and_a_parents_do_not_bound_it(limit: int, make: Callable[[], Any]) -> None:
    graph = make()
    want = bare(graph.invoke(PROBLEM))["steps"]
    assert graph.invoke(PROBLEM, {"recursion_limit": limit})["steps"] == want
    parent, limit = mounted(graph), max(limit, 2)  # of 1 a parent with one node is refused its own step
    assert parent.invoke(PROBLEM, {"recursion_limit": limit})["steps"] == want
    assert parent.batch([PROBLEM], {"recursion_limit": limit, "max_concurrency": 2})[0]["steps"] == want
    assert asyncio.run(parent.ainvoke(PROBLEM, {"recursion_limit": limit}))["steps"] == want


@pytest.mark.parametrize("method", OF_STEPS)
def test_langgraphs_step_limit_cuts_no_method(method: str) -> None:
    graph = compiled(method=method, chunk_size=1)
    want = plain(graph.invoke(PROBLEM))
    assert want["stop_reason"] == "eos"
    for limit in range(1, 30, 4):
        assert plain(graph.invoke(PROBLEM, {"recursion_limit": limit})) == want


def test_many_problems_and_samples_in_a_batch() -> None:
    problems = [{"problem": f"p{i}"} for i in range(6)]
    for graph, given in ((node(), problems), (solver(), [{**problem, "n_samples": 2} for problem in problems])):
        want = [bare(graph.invoke(each)) for each in given]
        assert [bare(out) for out in graph.batch(given, config={"max_concurrency": 16})] == want
        assert [bare(out) for out in asyncio.run(graph.abatch(given, config={"max_concurrency": 3}))] == want


@pytest.mark.parametrize("fields", [{"method": "expgsi", "chunk_size": 1, "n": 6}, {"max_steps": 300}])
def test_the_settings_alone_bound_a_run(fields: dict[str, Any]) -> None:
    graph = compiled(200, **fields)
    (out,) = graph.batch([PROBLEM])
    assert (len(out["steps"]), out["stop_reason"]) == ((64, "max_steps") if "n" in fields else (201, "eos"))


def test_a_parents_own_steps_still_count() -> None:
    parent: Any = StateGraph(Parent)
    parent.add_node("solve", node(max_steps=1))
    parent.add_edge(START, "solve")
    parent.add_edge("solve", "solve")
    with pytest.raises(GraphRecursionError, match="limit of 4 "):
        parent.compile().invoke(PROBLEM, {"recursion_limit": 4})


def test_copies_stay_whole() -> None:
    graph = create_gsi(**models(LENGTH), config=config()).compile(checkpointer=InMemorySaver(), name="mine")
    for each in (graph, graph.copy(), graph.with_config({"tags": ["t"]}), graph.copy({"name": "other"})):
        assert type(each) is CompiledWholeRun
    assert graph.copy({"name": "other"}).name == "other" and graph.name == "mine"
    graph.copy().validate()


# --- what a loop hidden in one node would lose ----------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
def test_interrupts_before_inner_nodes(batched: bool) -> None:
    graph = create_gsi(**models(), config=config()).compile(InMemorySaver(), interrupt_before=["tilt_and_accept"])
    config_: Any = {**thread(), "recursion_limit": 2}

    def go(given: Any) -> Any:
        return graph.batch([given], [config_])[0] if batched else graph.invoke(given, config_)

    out, stops = go(PROBLEM), 0
    while graph.get_state(thread()).next:
        assert graph.get_state(thread()).next == ("tilt_and_accept",)
        assert graph.get_state(thread()).values["gsi_rewards"]
        out, stops = go(None), stops + 1
    assert stops == 6
    assert plain(out) == plain(compiled().invoke(PROBLEM))


@pytest.mark.parametrize("batched", [False, True])
def test_a_crash_resumes_under_a_short_limit(batched: bool) -> None:
    graph = compiled(checkpointer=InMemorySaver(), parts=crashing("base", "score", 3))
    short: Any = {**thread(), "recursion_limit": 1}
    with pytest.raises(Crash):
        graph.batch([PROBLEM], [short]) if batched else graph.invoke(PROBLEM, short)
    out = graph.batch([None], [short])[0] if batched else graph.invoke(None, short)
    assert plain(out) == plain(compiled().invoke(PROBLEM))


def test_rewinding_at_the_root() -> None:
    graph = node(checkpointer=InMemorySaver())
    whole = graph.batch([PROBLEM], [thread()])[0]
    past = [state for state in graph.get_state_history(thread()) if state.next == ("draft",)]
    assert len(past) == LENGTH + 1
    assert plain(graph.batch([None], [past[5].config])[0]) == plain(whole)
    (other,) = [state for state in past if len(state.values["steps"]) == 3]
    forked = graph.update_state(other.config, {"steps": [{"text": "mine\n\n"}]}, as_node="begin")
    out = graph.invoke(None, forked)
    assert out["steps"][3]["text"] == "mine\n\n" and len(out["steps"]) > 4


def test_events_of_a_mounted_node_under_a_short_limit() -> None:
    parts = list(mounted(node()).stream(PROBLEM, {"recursion_limit": 2}, stream_mode="custom", subgraphs=True))
    assert [event["gsi_step"]["index"] for _, event in parts] == list(range(LENGTH + 1))
    updates = [key for space, update in node().stream(PROBLEM, subgraphs=True) for key in update if not space]
    assert updates.count("tilt_and_accept") == LENGTH + 1
