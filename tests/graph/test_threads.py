"""Threads used in odd ways: another problem while one is pending, many at once on one, several calls in one node."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

from gsi_node import MathSolver
from gsi_node.errors import ResumeMismatch
from gsi_node.graph.build import compile_gsi
from tests.graph.test_persistence import CRASHES, Crash, crashing
from tests.graph.test_whole_runs import bare
from tests.graph.world import compiled, config, plain, thread

PROBLEM, OTHER = {"problem": "p"}, {"problem": "q"}
PROBLEMS = [{"problem": f"p{i}"} for i in range(4)]


@pytest.mark.parametrize(("role", "method", "at"), CRASHES)
def test_another_problem_while_one_is_pending(role: str, method: str, at: int) -> None:
    with SqliteSaver.from_conn_string(":memory:") as saver:
        graph = compiled(checkpointer=saver, parts=crashing(role, method, at))
        with pytest.raises(Crash):
            graph.invoke(PROBLEM, thread())
        assert graph.get_state(thread()).next
        assert plain(graph.invoke(OTHER, thread()))["steps"] == compiled().invoke(OTHER)["steps"]
        assert not graph.get_state(thread()).tasks
        again = graph.invoke(PROBLEM, thread())
        assert bare(again) == bare(compiled().invoke(PROBLEM))


def test_another_problem_while_samples_are_pending() -> None:
    def solver(parts: dict[str, Any], saver: Any = None) -> Any:
        return MathSolver(**parts, config=config()).build().compile(checkpointer=saver)

    graph = solver(crashing("base", "score", 2), InMemorySaver())
    with pytest.raises(Crash):
        graph.invoke({**PROBLEM, "n_samples": 3}, thread())
    whole = solver(crashing("base", "score", 0)).invoke({**OTHER, "n_samples": 2})
    assert bare(graph.invoke({**OTHER, "n_samples": 2}, thread())) == bare(whole)


class Plainly(TypedDict, total=False):
    problem: str
    steps: list[Any]
    usage: dict[str, Any]


@pytest.mark.parametrize("checkpointer", [None, True])
def test_another_problem_while_a_mounted_node_is_pending(checkpointer: Any) -> None:
    node = compile_gsi(**crashing("draft", "sample", 3), config=config(), checkpointer=checkpointer)
    graph: Any = StateGraph(Plainly)
    graph.add_node("solve", node)
    graph.add_edge(START, "solve")
    parent = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(Crash):
        parent.invoke(PROBLEM, thread())
    for problem in (OTHER, PROBLEM, OTHER):
        out, want = parent.invoke(problem, thread()), compiled().invoke(problem)
        assert out["steps"] == want["steps"] and bare(out["usage"]) == bare(want["usage"])


async def test_many_problems_on_one_thread_do_not_mix() -> None:
    want = [bare(compiled().invoke(problem)) for problem in PROBLEMS]
    graph = compiled(checkpointer=InMemorySaver())
    assert [bare(out) for out in graph.batch(PROBLEMS, thread())] == want
    assert [bare(out) for out in await graph.abatch(PROBLEMS, thread())] == want
    own = [thread(str(i)) for i in range(len(PROBLEMS))]
    assert [bare(out) for out in graph.batch(PROBLEMS, own)] == want
    assert [bare(graph.get_state(each).values["steps"]) for each in own] == [out["steps"] for out in want]
    found = {i: bare(out) async for i, out in graph.abatch_as_completed(PROBLEMS, own)}
    assert [found[i] for i in range(len(PROBLEMS))] == want


class Outs(TypedDict, total=False):
    outs: list[Any]


def calling(node: Any, orders: list[list[int]]) -> Any:
    """A parent whose one node solves PROBLEMS by calls that begin in another order each time it runs."""
    order = iter(orders)

    async def solve(state: Any) -> Any:
        first = next(order)

        async def one(i: int) -> Any:
            await asyncio.sleep(0.02 * first.index(i))
            return bare(await node.ainvoke(PROBLEMS[i]))

        return {"outs": await asyncio.gather(*map(one, range(len(PROBLEMS))))}

    graph: Any = StateGraph(Outs)
    graph.add_node("solve", solve)
    graph.add_edge(START, "solve")
    return graph.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("at", [7, 20])
async def test_calls_in_another_order_after_a_crash_never_give_anothers_answer(at: int) -> None:
    want = [bare(compiled().invoke(problem)) for problem in PROBLEMS]
    for orders in ([[0, 1, 2, 3], [0, 1, 2, 3]], [[0, 1, 2, 3], [3, 2, 1, 0]]):
        parent = calling(compiled(parts=crashing("base", "score", at)), orders)
        with pytest.raises(Crash):
            await parent.ainvoke({}, thread())
        if orders[0] == orders[1]:
            assert (await parent.ainvoke(None, thread()))["outs"] == want
        else:
            with pytest.raises(ResumeMismatch, match="this call asks for problem_id .* is the run of "):
                await parent.ainvoke(None, thread())


def test_a_solver_in_a_node_tells_too() -> None:
    solver = MathSolver(**crashing("draft", "sample", 9), config=config()).build().compile()
    order = iter([(0, 1), (1, 0)])
    graph: Any = StateGraph(Outs)
    graph.add_node("solve", lambda state: {"outs": [bare(solver.invoke(PROBLEMS[i])) for i in next(order)]})
    graph.add_edge(START, "solve")
    parent = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(Crash):
        parent.invoke({}, thread())
    with pytest.raises(ResumeMismatch, match="this call asks for"):
        parent.invoke(None, thread())


def test_an_interrupted_second_problem_is_no_mistake() -> None:
    graph: Any = StateGraph(Plainly)
    node = compile_gsi(**crashing("draft", "sample", 0), config=config(), checkpointer=True)
    node.interrupt_before_nodes = ["tilt_and_accept"]
    graph.add_node("solve", node)
    graph.add_edge(START, "solve")
    parent = graph.compile(checkpointer=InMemorySaver())
    for problem in (PROBLEM, OTHER):
        out = parent.invoke(problem, thread())
        while parent.get_state(thread()).next:
            out = parent.invoke(None, thread())
        assert out["steps"] == compiled().invoke(problem)["steps"]
