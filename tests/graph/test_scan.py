"""expgsi in the graph: chunks are judged until one hits, only the judged are paid for, a crash changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node.errors import ConfigError
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.graph.test_node import DRAFT, frequencies, oracle_law
from tests.graph.test_persistence import Crash, crash_once
from tests.graph.world import compiled, models, plain, thread

FIELDS: dict[str, Any] = {"method": "expgsi", "n": 6, "log_ratio_clip": 0.5, "length": 12}


def ids(out: dict[str, Any]) -> list[list[int]]:
    return [step["token_ids"] for step in out["steps"]]


def scans(out: dict[str, Any]) -> list[dict[str, Any]]:
    return [(step if step["accepted"] else step["rejected"])["scan"] for step in out["steps"]]


def test_chunks_change_the_cost_and_nothing_else() -> None:
    runs = {size: compiled(**FIELDS, chunk_size=size).invoke({"problem": "p"}) for size in (1, 2, 4, 6, 9)}
    assert len({str(ids(out)) for out in runs.values()}) == 1
    whole, one = runs[6], runs[1]
    assert whole["usage"]["base"]["scored_tokens"] > runs[2]["usage"]["base"]["scored_tokens"]
    assert runs[2]["usage"]["base"]["scored_tokens"] > one["usage"]["base"]["scored_tokens"]
    assert [scan["n_scored"] for scan in scans(whole)] == [6] * 13
    assert [scan["hit"] for scan in scans(whole)] == [scan["hit"] for scan in scans(one)]
    for scan in scans(one):
        assert scan["n_scored"] == 6 or scan["hit"]
    assert {scan["hit"] for scan in scans(one)} == {True, False}


def test_only_what_was_judged_is_recorded_and_paid_for() -> None:
    out = compiled(**FIELDS, chunk_size=2, record="candidates").invoke({"problem": "p"})
    judged = fallen = drafted = chunks = fallbacks = 0
    for step in out["steps"]:
        batch = step if step["accepted"] else step["rejected"]
        done = batch["scan"]["n_scored"]
        numbers = ("reward", "log_prob_base", "log_ratio", "tilted_reward", "log_ratio_error")
        for i, candidate in enumerate(batch["candidates"]):
            drafted += len(candidate["token_ids"])
            assert all((candidate[name] is None) == (i >= done) for name in numbers)
        judged += sum(len(candidate["token_ids"]) for candidate in batch["candidates"][:done])
        clipped = [candidate["log_ratio"] > 0.5 for candidate in batch["candidates"][:done]]
        assert batch["scan"]["n_clipped"] == sum(clipped)
        assert batch["tilted_reward"] == pytest.approx(batch["reward"] + min(batch["log_ratio"], 0.5) / 4.0)
        assert batch["n_candidates"] == 6 and batch["ess"] is batch["log_mean_weight"] is None
        chunks += -(-done // 2)
        if not step["accepted"]:
            assert "scan" not in step
            fallbacks += 1
            fallen += sum(len(candidate["token_ids"]) for candidate in step["candidates"])
    assert any(scan["n_clipped"] for scan in scans(out)) and any(scan["n_scored"] < 6 for scan in scans(out))
    usage = plain(out)["usage"]
    assert usage["draft"] == {
        "generated_tokens": drafted,
        "generated_positions": drafted,
        "discarded_tokens": 0,
        "scored_tokens": 0,
        "calls": 13,
    }
    assert usage["base"] == {
        "generated_tokens": fallen,
        "generated_positions": fallen,
        "discarded_tokens": 0,
        "scored_tokens": judged,
        "calls": chunks + fallbacks,
    }
    assert usage["reward"] == {
        "generated_tokens": 0,
        "generated_positions": 0,
        "discarded_tokens": 0,
        "scored_tokens": judged + fallen,
        "calls": chunks + fallbacks,
    }


def test_the_graphs_steps_follow_the_exact_law() -> None:
    exact = oracle_law("expgsi")
    found = frequencies("expgsi", 400)
    for text in DRAFT:
        assert abs(found[text] - exact[text]) < 4 * math.sqrt(exact[text] * (1 - exact[text]) / 400) + 1e-9


@pytest.mark.parametrize("node", ["draft", "reward", "score_base", "tilt_and_accept"])
@pytest.mark.parametrize("at", [3, 4])
async def test_resume_in_the_middle_of_a_scan(node: str, at: int) -> None:
    whole = plain(compiled(**FIELDS, chunk_size=1).invoke({"problem": "p"}))
    for is_async in (False, True):
        graph = compiled(**FIELDS, chunk_size=1, checkpointer=InMemorySaver())
        inner = graph.builder.nodes[node].runnable
        inner.body = crash_once(inner.body, at)
        with pytest.raises(Crash):
            await graph.ainvoke({"problem": "p"}, thread()) if is_async else graph.invoke({"problem": "p"}, thread())
        resumed = await graph.ainvoke(None, thread()) if is_async else graph.invoke(None, thread())
        assert plain(resumed) == whole


def test_one_run_can_have_its_own_chunks_and_clip() -> None:
    graph = compiled(**FIELDS, chunk_size=6)
    wanted = compiled(**{**FIELDS, "log_ratio_clip": 0.0}, chunk_size=1).invoke({"problem": "p"})
    found = graph.invoke({"problem": "p"}, context={"chunk_size": 1, "log_ratio_clip": 0.0})
    assert plain(found) == plain(wanted)


def test_zero_weights_fall_back_after_the_last_chunk() -> None:
    parts = {
        "draft": TableModel({"a": 1.0}),
        "base": TableModel({"b": 1.0}),
        "reward": TableReward({"a": 0.9, "b": 0.1}),
    }
    (step,) = compiled(parts=parts, method="expgsi", chunk_size=2).invoke({"problem": "p"})["steps"]
    assert step["text"] == "b" and step["rejected"]["text"] is None
    assert step["rejected"]["scan"] == {"n_scored": 3, "hit": False, "n_clipped": 0}


def test_a_reward_without_a_maximum_is_refused() -> None:
    parts = {**models(), "reward": TableReward({"a": 1.0}, range=(-math.inf, math.inf))}
    with pytest.raises(ConfigError, match="known upper bound"):
        compiled(parts=parts, method="expgsi")
