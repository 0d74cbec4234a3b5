"""A run that looks ahead is the run that does not, but for seconds and discarded tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from gsi_node.errors import ResumeMismatch
from gsi_node.graph.build import compile_gsi
from gsi_node.graph.state import GSIState
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.methods import METHODS
from gsi_node.step.solve import asolve, solve
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.ahead import Telling, TellingTable, bare, parts, settled, token_parts
from tests.graph.world import config, reward_of, steps_then_answer, thread
from tests.step.test_by_text import Far, told

CUTS: list[dict[str, Any]] = [
    {},
    {"n_fallback": 2, "threshold": 0.75, "delta": 0.8, "log_c": 3.0},
    {"max_tokens": 30, "max_step_tokens": 9},
    {"max_steps": 2, "record": "candidates"},
]
JUDGED = {name for name, method in METHODS.items() if method.propose != "specdec" and method.needs}


def as_output(solution: Any) -> dict[str, Any]:
    return bare({**asdict(solution), "messages": []})


@pytest.mark.parametrize("fields", CUTS, ids=lambda fields: " ".join(fields) or "defaults")
@pytest.mark.parametrize("method", METHODS)
def test_the_run_is_the_same(method: str, fields: dict[str, Any]) -> None:
    """In the graph and without it, awaited and not, whatever K; and something was guessed right."""
    settings: dict[str, Any] = {"method": method, "n": 5, "chunk_size": 2, "max_steps": 6, **fields}
    make = token_parts if METHODS[method].propose == "specdec" or "max_tokens" in fields else parts
    own, asked_for = make(), {"problem": "p"}
    still = bare(compile_gsi(**own, config=config(**settings)).invoke(asked_for))
    asked = len(own["draft"].asked) + len(own["base"].asked)
    for k, way in ((1, "sync"), (5, "sync"), (5, "async"), (5, "solve"), (5, "asolve")):
        own = make()
        ahead = config(**settings, lookahead=k)
        if way == "solve":
            found = as_output(solve("p", Models(**own), ahead))
        elif way == "asolve":
            found = as_output(asyncio.run(asolve("p", Models(**own), ahead)))
        else:
            graph = compile_gsi(**own, config=ahead)
            found = bare(graph.invoke(asked_for) if way == "sync" else asyncio.run(graph.ainvoke(asked_for)))
        assert found == {**still, "messages": found["messages"] and still["messages"]}, (k, way)
        assert settled()
        now = len(own["draft"].asked) + len(own["base"].asked)
        guessed = len(own["draft"].guessed) + len(own["base"].guessed)
        if method not in JUDGED:
            assert (now, guessed) == (asked, 0)
        elif k == 5 and len(still["steps"]) > 1:
            assert guessed and now < asked, (k, way)


def test_discarded_tokens_are_what_was_guessed_in_vain() -> None:
    own = parts()
    out = compile_gsi(**own, config=config(lookahead=3)).invoke({"problem": "p"})
    drawn = len(own["draft"].asked) + len(own["draft"].guessed)
    kept = out["usage"]["draft"]["calls"]
    assert drawn > kept
    discarded = out["usage"]["draft"]["discarded_tokens"]
    assert discarded > 0
    lengths = [len(step["token_ids"]) for step in out["steps"]]
    assert (drawn - kept) * 3 * min(lengths) <= discarded <= (drawn - kept) * 3 * (max(lengths) + 2)
    assert compile_gsi(**parts(), config=config()).invoke({"problem": "p"})["usage"]["draft"]["discarded_tokens"] == 0


def mounted(k: int, saver: Any, own: dict[str, Any], **fields: Any) -> Any:
    inner = compile_gsi(**own, config=config(lookahead=k), **fields)
    graph = StateGraph(GSIState)
    graph.add_node("solve", inner)
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return graph.compile(checkpointer=saver)


def at_the_root(k: int, saver: Any, own: dict[str, Any], **fields: Any) -> Any:
    return compile_gsi(**own, config=config(lookahead=k), checkpointer=saver, **fields)


@pytest.mark.parametrize("make", [at_the_root, mounted])
@pytest.mark.parametrize("then, now", [(0, 3), (3, 0), (2, 1)])
def test_a_run_goes_on_under_another_k(make: Any, then: int, now: int) -> None:
    """Stopped before every draft and fallback, and resumed by a node with another K each time."""
    still = bare(compile_gsi(**parts(), config=config()).invoke({"problem": "p"}))
    saver, given, stops = InMemorySaver(), {"problem": "p"}, 0
    while True:
        k = (then, now)[stops % 2]
        out = make(k, saver, parts(), interrupt_before=["draft", "fallback"]).invoke(given, thread())
        assert settled()
        if out.get("stop_reason"):
            break
        given, stops = None, stops + 1  # type: ignore[assignment]
    assert stops > len(still["steps"])
    assert bare({key: out[key] for key in still}) == still


@pytest.mark.parametrize("make", [at_the_root, mounted])
def test_checkpoints_and_streams_are_the_same(make: Any) -> None:
    """Every state that is saved and every chunk that is streamed, of all nodes; reward and score end in any order."""
    found = []
    for k in (0, 3):
        saver = InMemorySaver()
        graph = make(k, saver, parts())
        modes: Any = ["updates", "values", "custom"]
        chunks = list(graph.stream({"problem": "p"}, thread(), stream_mode=modes, subgraphs=True))
        states = [saved.checkpoint["channel_values"] for saved in saver.list(None)]
        told = [chunk[2] for chunk in chunks if chunk[1] == "custom"]
        found.append((told, *(sorted(map(repr, map(_without, all_))) for all_ in ([c[1:] for c in chunks], states))))
    assert found[0] == found[1]


def _without(value: Any) -> Any:
    """Without usage, which tells the tokens of guesses, and names that are drawn anew for every run."""
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in ("usage", "messages", "message_id")}
    if isinstance(value, list | tuple):
        return [_without(item) for item in value]
    return value


def test_old_threads_and_settings() -> None:
    """K is nothing that a run remembers; what it does remember is compared as ever."""
    assert "lookahead" not in GSIConfig(lookahead=2).identity()
    saver = InMemorySaver()
    at_the_root(0, saver, parts(), interrupt_before=["fallback"]).invoke({"problem": "p"}, thread())
    run = saver.get(thread())["channel_values"]["gsi_run"]  # type: ignore[index]
    assert "lookahead" not in run["config"]
    other = compile_gsi(**parts(), config=config(lookahead=2, beta=5.0), checkpointer=saver)
    with pytest.raises(ResumeMismatch, match="config.beta: 4.0 in the checkpoint, 5.0 here"):
        other.invoke(None, thread())


def brief(prefix: Prefix, step: Step) -> float:
    """The world's reward, after a time in which something can be guessed."""
    time.sleep(0.001)
    return reward_of(prefix, step)


def test_in_company() -> None:
    """Twelve runs at a time over the same models: a run's call goes before the guesses of others."""
    problems = [{"problem": f"p{i}"} for i in range(12)]
    own = {**parts(), "reward": TableReward(brief, name="reward")}
    still = [bare(out) for out in compile_gsi(**own, config=config()).batch(problems)]
    graph = compile_gsi(**own, config=config(lookahead=2))
    assert [bare(out) for out in graph.batch(problems, {"max_concurrency": 12})] == still
    assert [bare(out) for out in asyncio.run(graph.abatch(problems, {"max_concurrency": 12}))] == still
    assert settled()


@pytest.mark.parametrize("threshold, source", [(0.9, "draft"), (9.0, "base")])
@pytest.mark.parametrize("method", ["gsi", "expgsi"])
def test_several_drafts(method: str, threshold: float, source: str) -> None:
    """All their draws and scores are taken up; s_i is −log m, so that what is certain is."""
    found = []
    for k, awaited in ((0, False), (2, False), (2, True)):
        drafts = [TellingTable(steps_then_answer(good, 5), name=f"draft {good}") for good in (0.4, 0.6)]
        own: dict[str, Any] = {**parts(), "draft": drafts}
        settings = config(method=method, n=4, chunk_size=2, threshold=threshold, lookahead=k)
        graph = compile_gsi(**own, config=settings)
        out = asyncio.run(graph.ainvoke({"problem": "p"})) if awaited else graph.invoke({"problem": "p"})
        found.append((bare(out), drafts))
        assert settled()
    assert found[0][0] == found[1][0] == found[2][0]
    for still, *others in zip(*(drafts for _, drafts in found), strict=True):
        assert all(len(ahead.asked) < len(still.asked) and ahead.guessed for ahead in others)
    assert {step["source"] for step in found[0][0]["steps"]} == {source}


class TellingFar(Telling, Far):
    pass


def test_models_of_different_vocabularies() -> None:
    """The draft encodes the text of what would be committed, behind which it guesses."""
    found = []
    for k in (0, 3):
        draft, base = TellingFar(told(0.3)), TellingTable(told(0.7))
        reward = TableReward(lambda prefix, step: (settled(), 0.9 if "b" in step.text else 0.2)[1], name="b")
        settings = GSIConfig(method="rsd-n", n=3, beta=2.0, delta=0.5, max_steps=8, seed=31, lookahead=k)
        out = compile_gsi(draft=draft, base=base, reward=reward, config=settings).invoke({"problem": "p"})
        found.append((bare(out), len(draft.asked)))
        assert settled() and bool(draft.guessed) == bool(k)
    assert found[0][0] == found[1][0] and found[1][1] < found[0][1]
    assert {step["source"] for step in found[0][0]["steps"]} == {"draft", "base"}
