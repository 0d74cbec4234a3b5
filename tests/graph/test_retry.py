"""LangGraph's RetryPolicy as a user writes it: a model out of reach is asked again, a wrong call is not."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from gsi_node.errors import BackendError, BackendUnavailable, GSIError, ResumeMismatch
from gsi_node.graph.build import create_gsi
from gsi_node.graph.state import GSIState
from tests.graph.world import compiled, config, models, plain, thread

PROBLEM = {"problem": "p"}
DEFAULT = RetryPolicy()
SOON = RetryPolicy(initial_interval=0.01)


def failing(at: int, error: GSIError) -> dict[str, Any]:
    """Models whose base fails once, at its `at`-th call (from 1), and counts its calls."""
    parts = models()
    score, calls = parts["base"].score, []

    def wrapped(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == at:
            raise error
        return score(*args)

    parts["base"].score, parts["calls"] = wrapped, calls
    return parts


def parent(parts: dict[str, Any], policy: RetryPolicy, checkpointer: Any = None) -> Any:
    node = compiled(parts={role: parts[role] for role in ("draft", "base", "reward")})
    graph: Any = StateGraph(GSIState)
    graph.add_node("solve", node, retry_policy=policy)
    graph.add_edge(START, "solve")
    return graph.compile(checkpointer=checkpointer)


@pytest.mark.parametrize("saver", [False, True])
async def test_a_model_out_of_reach_once_changes_nothing(saver: bool) -> None:
    want = compiled().invoke(PROBLEM)["steps"]
    for is_async in (False, True):
        parts = failing(3, BackendUnavailable("the server was restarted"))
        graph = parent(parts, DEFAULT, InMemorySaver() if saver else None)
        out = await graph.ainvoke(PROBLEM, thread()) if is_async else graph.invoke(PROBLEM, thread())
        assert out["steps"] == want
        assert len(parts["calls"]) == 3 + 6  # the mounted node begins again


def test_the_nodes_own_graph_can_retry_inside() -> None:
    parts = failing(3, BackendUnavailable("gone"))
    calls = parts.pop("calls")
    graph = create_gsi(**parts, config=config())
    graph.set_node_defaults(retry_policy=SOON)
    assert plain(graph.compile().invoke(PROBLEM)) == plain(compiled().invoke(PROBLEM))
    assert len(calls) == 7


def test_with_retry_of_langchain() -> None:
    parts = failing(3, BackendUnavailable("gone"))
    calls = parts.pop("calls")
    patient = compiled(parts=parts).with_retry(
        retry_if_exception_type=(ConnectionError,), wait_exponential_jitter=False
    )
    assert plain(patient.batch([PROBLEM])[0]) == plain(compiled().invoke(PROBLEM))
    assert len(calls) == 9


@pytest.mark.parametrize("error", [BackendError("too few choices"), ResumeMismatch("other settings")])
def test_what_asking_again_cannot_mend_is_raised_at_once(error: GSIError) -> None:
    parts = failing(3, error)
    with pytest.raises(type(error)):
        parent(parts, DEFAULT).invoke(PROBLEM)
    assert len(parts["calls"]) == 3


def test_it_is_what_it_was() -> None:
    error = BackendUnavailable("server http://HOST: gone")
    assert {BackendError, RuntimeError, ConnectionError} <= set(type(error).mro())
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "server http://HOST: gone"
    assert error.errno is None
