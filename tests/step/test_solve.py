"""solve() without LangGraph: the graph's own token ids, records, stop reasons and costs; and one step alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from gsi_node import (
    GSIConfig,
    Models,
    Prefix,
    StepContext,
    asolve,
    compile_gsi,
    decide_step,
    load_model,
    load_reward,
    solve,
)
from gsi_node.errors import BackendUnavailable, ConfigError, DegenerateWeights
from gsi_node.step.methods import METHODS
from gsi_node.step.records import next_context
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.graph.world import config, environment, models, plain
from tests.token_world import tables

CUTS: list[dict[str, Any]] = [
    {},
    {"n_fallback": 2, "threshold": 0.75, "delta": 0.8, "log_c": 3.0},
    {"max_tokens": 30, "max_step_tokens": 9},
    {"max_steps": 2, "record": "candidates"},
]


def parts(method: str) -> dict[str, Any]:
    """Three models that a method can ask; token tables where it needs them."""
    if METHODS[method].propose != "specdec":
        return models()
    draft, base = tables(5)
    return {"draft": draft, "base": base, "reward": TableReward(lambda prefix, step: 0.9 if "a" in step.text else 0.2)}


def same(found: Any, out: dict[str, Any]) -> None:
    """A Solution and the graph's output: all but seconds and the message."""
    ours = plain({**asdict(found), "messages": []})
    theirs = plain(out)
    assert {key: theirs[key] for key in ours if key != "messages"} == {k: v for k, v in ours.items() if k != "messages"}


@pytest.mark.parametrize("fields", CUTS, ids=lambda fields: " ".join(fields) or "defaults")
@pytest.mark.parametrize("method", METHODS)
def test_solve_is_the_graph(method: str, fields: dict[str, Any]) -> None:
    own, settings = parts(method), config(method=method, **{"max_steps": 6, **fields})
    same(solve("p", Models(**own), settings), compile_gsi(**own, config=settings).invoke({"problem": "p"}))


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_in_chunks(chunk_size: int) -> None:
    settings = config(method="expgsi", n=5, chunk_size=chunk_size)
    out = compile_gsi(**models(), config=settings).invoke({"problem": "p"})
    same(solve("p", Models(**models()), settings), out)
    assert any(step["n_candidates"] > step["scan"]["n_scored"] for step in out["steps"] if "scan" in step) == (
        chunk_size < 5
    )


@pytest.mark.parametrize("cut", [0, 2, 6])
def test_initial_steps_and_ids(cut: int) -> None:
    own = models()
    whole = solve("p", Models(**own), config(), problem_id=7)
    given = [{key: step[key] for key in ("text", "token_ids")} for step in whole.steps[:cut]]
    found = solve("p", Models(**own), config(), problem_id="7", initial_steps=given)
    assert [step["token_ids"] for step in found.steps] == [step["token_ids"] for step in whole.steps]
    graph = compile_gsi(**own, config=config())
    same(found, graph.invoke({"problem": "p", "problem_id": 7, "initial_steps": given}))


def test_awaited() -> None:
    own = Models(**models())
    assert plain({**asdict(asyncio.run(asolve("p", own, config()))), "messages": []}) == plain(
        {**asdict(solve("p", own, config())), "messages": []}
    )


@pytest.mark.parametrize("method", ["gsi", "expgsi", "specdec-sbon"])
def test_on_the_pocket_models(method: str) -> None:
    own: dict[str, Any] = {
        "draft": load_model("pocket:draft"),
        "base": load_model("pocket:base"),
        "reward": load_reward("pocket"),
    }
    settings = GSIConfig(method=method, n=3, max_steps=4, max_step_tokens=24, chunk_size=2)
    question = "What is 12 * (7 + 5)?"
    same(solve(question, Models(**own), settings), compile_gsi(**own, config=settings).invoke({"problem": question}))


class Gone(TableModel):
    def sample(self, *args: Any) -> Any:
        raise BackendUnavailable("gone")


def test_a_lost_draft() -> None:
    own = {**models(), "draft": Gone({"a": 1.0})}
    settings = config(allow_degraded=True)
    found = solve("p", Models(**own), settings)
    assert found.degraded == "gone"
    same(found, compile_gsi(**own, config=settings).invoke({"problem": "p"}))
    with pytest.raises(BackendUnavailable):
        solve("p", Models(**own), config())


def test_step_by_step() -> None:
    own, settings = Models(**models()), config()
    whole, records = solve("p", own, settings, problem_id="x"), list[Any]()
    finished = False
    while not finished:
        context = next_context(own, settings, Prefix("p"), "x", records)
        assert isinstance(context, StepContext)
        decision = decide_step(context)
        records.append(decision.record)
        finished = decision.step.finished
        assert decision.record["text"] == decision.step.text
    assert records == whole.steps


def test_what_cannot_be_is_refused() -> None:
    own = models()
    with pytest.raises(ConfigError, match="base: method gsi needs it, got None"):
        solve("p", Models(own["draft"], None, own["reward"]), config())
    with pytest.raises(ConfigError, match="problem: want a non-empty string, got ' '"):
        solve(" ", Models(**own), config())
    context = next_context(Models(own["draft"]), config(), Prefix("p"), "p", [])
    with pytest.raises(ConfigError, match="reward: method gsi needs it, got None"):
        decide_step(context)
    apart = Models(TableModel({"a": 1.0}), TableModel({"b": 1.0}), TableReward({"a": 0.5, "b": 0.5}))
    with pytest.raises(DegenerateWeights, match="gsi-no-fallback"):
        solve("p", apart, config(method="gsi-no-fallback"))


def test_it_needs_no_langgraph() -> None:
    program = """
import importlib, pkgutil, sys
import gsi_node.step as room
for found in pkgutil.walk_packages(room.__path__, "gsi_node.step."): importlib.import_module(found.name)
from gsi_node import Models, solve
from gsi_node.tables.models import TableModel
assert solve("p", Models(TableModel({"a": 1.0})), room.config.GSIConfig(method="draft")).response == "a"
heavy = [name for name in ("langgraph", "langchain_core", "torch", "transformers") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())
