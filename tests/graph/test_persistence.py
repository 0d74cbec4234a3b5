"""Crashes, savers, resumption: whatever happens in between, the result is that of an uninterrupted run."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from gsi_node.errors import ResumeMismatch
from gsi_node.graph.build import compile_gsi
from tests.graph.world import compiled, config, environment, models, plain, steps_then_answer, thread


class Crash(RuntimeError):
    pass


def crash_once(method: Any, at: int) -> Any:
    """A wrapper that fails at the `at`-th call and works ever after."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Crash(f"planted at call {at}")
        return method(*args, **kwargs)

    return wrapped


# (role, method, call that fails): a crash in draft, score_base, fallback (the base's own sampling), reward
CRASHES = [("draft", "sample", 3), ("base", "score", 2), ("base", "sample", 1), ("base", "sample", 2)]


def crashing(role: str, method: str, at: int) -> dict[str, Any]:
    parts = models()
    setattr(parts[role], method, crash_once(getattr(parts[role], method), at))
    return parts


@pytest.mark.parametrize(("role", "method", "at"), CRASHES)
def test_resume_after_an_exception_in_a_model(role: str, method: str, at: int, tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        graph = compiled(checkpointer=saver, parts=crashing(role, method, at))
        with pytest.raises(Crash):
            graph.invoke({"problem": "p"}, thread())
        assert plain(graph.invoke(None, thread())) == plain(compiled().invoke({"problem": "p"}))


@pytest.mark.parametrize("node", ["begin", "draft", "reward", "score_base", "tilt_and_accept", "fallback", "finish"])
async def test_resume_after_an_exception_in_any_node(node: str, tmp_path: Path) -> None:
    whole = plain(compiled().invoke({"problem": "p"}))
    for is_async in (False, True):
        graph = compiled(checkpointer=InMemorySaver())
        inner = graph.builder.nodes[node].runnable
        inner.body = crash_once(inner.body, 1 if node in ("begin", "finish") else 2)
        with pytest.raises(Crash):
            await graph.ainvoke({"problem": "p"}, thread()) if is_async else graph.invoke({"problem": "p"}, thread())
        resumed = await graph.ainvoke(None, thread()) if is_async else graph.invoke(None, thread())
        assert plain(resumed) == whole


async def test_async_sqlite_resumes_too(tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        graph = compiled(checkpointer=saver, parts=crashing("base", "score", 3))
        with pytest.raises(Crash):
            await graph.ainvoke({"problem": "p"}, thread())
        assert plain(await graph.ainvoke(None, thread())) == plain(compiled().invoke({"problem": "p"}))


def test_a_resumed_run_keeps_its_overrides() -> None:
    saver = InMemorySaver()
    graph = compiled(checkpointer=saver, parts=crashing("draft", "sample", 3))
    with pytest.raises(Crash):
        graph.invoke({"problem": "p"}, thread(), context={"n": 2})
    with pytest.raises(ResumeMismatch, match=r"overrides\.n: 2 in the checkpoint, 4 here"):
        graph.invoke(None, thread(), context={"n": 4})
    assert plain(graph.invoke(None, thread())) == plain(compiled().invoke({"problem": "p"}, context={"n": 2}))


def test_resuming_under_other_settings_or_models_is_refused() -> None:
    saver = InMemorySaver()
    graph = compiled(checkpointer=saver, parts=crashing("draft", "sample", 3))
    with pytest.raises(Crash):
        graph.invoke({"problem": "p"}, thread())
    with pytest.raises(ResumeMismatch, match=r"config\.beta: 4\.0 in the checkpoint, 5\.0 here"):
        compiled(checkpointer=saver, beta=5.0).invoke(None, thread())
    other = models()
    other["base"].name = "another base"
    with pytest.raises(ResumeMismatch, match=r"models\.base"):
        compiled(checkpointer=saver, parts=other).invoke(None, thread())
    assert plain(compiled(checkpointer=saver).invoke(None, thread())) == plain(compiled().invoke({"problem": "p"}))


def test_the_state_is_plain_under_strict_msgpack(tmp_path: Path) -> None:
    program = """
import warnings; warnings.simplefilter("error")
from langgraph.checkpoint.sqlite import SqliteSaver
from tests.graph.world import compiled, plain, thread
with SqliteSaver.from_conn_string(":memory:") as saver:
    graph = compiled(checkpointer=saver, record="candidates")
    out = graph.invoke({"problem": "p"}, thread())
    state = graph.get_state(thread()).values
    assert state["steps"] == out["steps"], (state["steps"], out["steps"])
    assert plain(graph.invoke({"problem": "p"}, thread()))["steps"] == out["steps"]
"""
    strict = {**environment(), "LANGGRAPH_STRICT_MSGPACK": "true"}
    subprocess.run([sys.executable, "-c", program], check=True, env=strict)


def database_bytes(length: int, path: Path) -> int:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        out = compiled(length=length, checkpointer=saver).invoke({"problem": "p"}, thread())
    assert len(out["steps"]) == length + 1
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM")
    return path.stat().st_size


def test_the_checkpoint_database_grows_linearly(tmp_path: Path) -> None:
    sizes = [database_bytes(length, tmp_path / f"{length}.sqlite") for length in (15, 30, 60)]
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert second < 2.4 * first, sizes  # linear: 2.0; quadratic: 4


async def test_cancelling_an_async_run_stops_it_and_it_resumes() -> None:
    parts = models(length=12)
    parts["draft"].delay = 0.05
    graph = compiled(checkpointer=InMemorySaver(), parts=parts)
    task = asyncio.create_task(graph.ainvoke({"problem": "p"}, thread()))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert graph.get_state(thread()).next
    parts["draft"].delay = 0.0
    assert plain(await graph.ainvoke(None, thread())) == plain(compiled(length=12).invoke({"problem": "p"}))


def test_forks_from_an_earlier_step_go_their_own_way() -> None:
    graph = compiled(checkpointer=InMemorySaver())
    whole = graph.invoke({"problem": "p"}, thread())
    past = [s for s in graph.get_state_history(thread()) if s.next == ("draft",) and len(s.values["steps"]) == 3]
    assert len(past) == 1
    again = graph.invoke(None, past[0].config)
    assert plain(again)["steps"] == whole["steps"]


def test_world_tables_are_probabilities() -> None:
    compile_gsi(**models(), config=config())
    from gsi_node.types import Prefix

    assert sum(steps_then_answer(0.4, 5)(Prefix("p")).values()) == pytest.approx(1.0)
