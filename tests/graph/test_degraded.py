"""allow_degraded: the base alone where the draft cannot be reached, said in the result; nothing else degrades."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import ValidationError

from gsi_node import build_math_solver
from gsi_node.errors import BackendError, BackendUnavailable, GSIError, ResumeMismatch
from tests.graph.world import compiled, config, models, plain, thread

GONE = "server:http://HOST:1/v1: sampling 3 steps: the connection failed. Start the server"


def failing(at: int, error: GSIError | None = None, role: str = "draft", method: str = "sample") -> dict[str, Any]:
    """The models of the world; `role` fails from its `at`-th call (from 0) on, and counts its calls."""
    parts = models()
    real, calls = getattr(parts[role], method), []

    def wrapped(*args: Any) -> Any:
        calls.append(args)
        if len(calls) > at:
            raise error or BackendUnavailable(GONE)
        return real(*args)

    setattr(parts[role], method, wrapped)
    parts[role].calls = calls
    return parts


def degraded(steps: Sequence[dict[str, Any]]) -> list[str | None]:
    return [step.get("degraded") for step in steps]


@pytest.mark.parametrize("method", ["gsi", "gsi-ic", "rsd", "rsd-n", "expgsi"])
def test_the_base_goes_on_alone_and_the_result_says_so(method: str) -> None:
    parts = failing(2)
    result = compiled(parts=parts, method=method, allow_degraded=True).invoke({"problem": "p"})
    steps = result["steps"]
    assert degraded(steps) == [None, None] + [GONE] * (len(steps) - 2) and len(steps) == 6
    assert result["degraded"] == GONE and result["answer"] is not None
    assert result["messages"][-1].response_metadata["degraded"] == GONE
    for step in steps[2:]:
        assert step["source"] == "base" and step["accepted"] is False and "rejected" not in step
        assert step["log_ratio"] is None and step["log_prob_draft"] is None and step["log_prob_base"] is not None
    assert len(parts["draft"].calls) == 3  # asked once in vain, then no more
    whole = compiled(method=method).invoke({"problem": "p"})
    assert steps[:2] == whole["steps"][:2] and whole["degraded"] is None


def test_a_degraded_step_is_the_fallback_of_the_same_streams() -> None:
    """Where the draft's step would have been refused, losing the draft changes nothing but the bookkeeping."""
    refused = compiled(threshold=9.0).invoke({"problem": "p"})
    alone = compiled(parts=failing(0), threshold=9.0, allow_degraded=True).invoke({"problem": "p"})
    assert alone["response"] == refused["response"]
    for a, b in zip(alone["steps"], refused["steps"], strict=True):
        assert {k: v for k, v in a.items() if k != "degraded"} == {k: v for k, v in b.items() if k != "rejected"}
    assert "draft" not in alone["usage"] or alone["usage"]["draft"]["calls"] == 0


def test_allowing_it_changes_no_run_whose_draft_lives() -> None:
    assert plain(compiled(allow_degraded=True).invoke({"problem": "p"})) == plain(compiled().invoke({"problem": "p"}))


async def test_async_runs_degrade_alike() -> None:
    found = await compiled(parts=failing(2), allow_degraded=True).ainvoke({"problem": "p"})
    assert plain(found) == plain(compiled(parts=failing(2), allow_degraded=True).invoke({"problem": "p"}))


@pytest.mark.parametrize(
    "parts",
    [
        lambda: failing(2, BackendError("too few choices")),
        lambda: failing(2, role="base", method="score"),
        lambda: failing(0, role="base", method="sample"),
        lambda: failing(2, role="reward", method="__call__"),
    ],
    ids=["another error of the draft", "the base's scores", "the base's steps", "the reward"],
)
def test_nothing_else_degrades(parts: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    found = parts()
    if hasattr(found["reward"], "calls"):
        reward = found["reward"]
        monkeypatch.setattr(type(reward), "__call__", lambda self, *args: vars(self)["__call__"](*args))
    with pytest.raises(BackendError):
        compiled(parts=found, allow_degraded=True, threshold=0.9).invoke({"problem": "p"})


def test_without_permission_it_is_an_error() -> None:
    with pytest.raises(BackendUnavailable, match="Start the server"):
        compiled(parts=failing(2)).invoke({"problem": "p"})


def test_a_killed_degraded_run_resumes_degraded(tmp_path: Path) -> None:
    """Once lost, lost: the resumed run does not ask the draft again, though it may be back."""
    wanted = compiled(parts=failing(2), allow_degraded=True).invoke({"problem": "p"})
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        parts = failing(2)
        asked: list[int] = []
        real = parts["base"].sample

        def crash_once(*args: Any) -> Any:
            asked.append(1)
            if len(asked) == 4:
                raise RuntimeError("planted")
            return real(*args)

        parts["base"].sample = crash_once
        with pytest.raises(RuntimeError, match="planted"):
            compiled(parts=parts, checkpointer=saver, allow_degraded=True).invoke({"problem": "p"}, thread())
        resumed = compiled(checkpointer=saver, allow_degraded=True).invoke(None, thread())
        assert resumed["steps"] == wanted["steps"] and resumed["degraded"] == GONE
        again = compiled(checkpointer=saver, allow_degraded=True).invoke({"problem": "p"}, thread())
        assert again["degraded"] is None  # a second problem on the thread starts clean
        with pytest.raises(ResumeMismatch, match="allow_degraded"):
            parts = failing(2)
            parts["base"].sample = crash_once
            asked.clear()
            with pytest.raises(RuntimeError, match="planted"):
                compiled(parts=parts, checkpointer=saver, allow_degraded=True).invoke({"problem": "p"}, thread("2"))
            compiled(checkpointer=saver).invoke(None, thread("2"))


def test_a_method_without_a_fallback_cannot_degrade() -> None:
    with pytest.raises(ValidationError, match="method sbon-draft has no fallback"):
        config(method="sbon-draft", allow_degraded=True)


def test_the_solver_says_so_too() -> None:
    parts = failing(2)
    graph = build_math_solver(**parts, config=config(allow_degraded=True)).compile()
    assert graph.invoke({"problem": "p"})["degraded"] == GONE
    assert build_math_solver(**models(), config=config()).compile().invoke({"problem": "p"})["degraded"] is None
