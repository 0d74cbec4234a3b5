"""specdec and specdec-sbon in the graph, over token tables: records, costs, refusals, and crashes."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node.errors import ConfigError
from gsi_node.step.speculate import SpeculativeModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.graph.test_persistence import Crash, crash_once
from tests.graph.world import compiled, models, plain, thread
from tests.token_world import tables

REWARD = TableReward(lambda prefix, step: 0.9 if "a" in step.text else 0.2, name="likes a")
FIELDS: dict[str, Any] = {"max_step_tokens": 4, "max_steps": 6, "gamma": 2}


def parts() -> dict[str, Any]:
    draft, base = tables(7)
    return {"draft": draft, "base": base, "reward": REWARD}


def graph(method: str, **fields: Any) -> Any:
    return compiled(parts=parts(), method=method, **{**FIELDS, **fields})


@pytest.mark.parametrize("method", ["specdec", "specdec-sbon"])
async def test_steps_carry_the_bases_log_probs_and_both_models_are_paid(method: str) -> None:
    out = graph(method).invoke({"problem": "p"})
    assert plain(await graph(method).ainvoke({"problem": "p"})) == plain(out)
    base, steps = parts()["base"], out["steps"]
    prefix = Prefix("p")
    for record in steps:
        (step,) = base.score(prefix, [base.step_of(prefix, record["token_ids"], 0.0)], SamplingLaw())
        assert record["log_prob_base"] == pytest.approx(step.log_prob, abs=1e-12)
        assert (record["source"], record["accepted"], record["log_prob_draft"]) == ("specdec", True, None)
        assert (record["reward"] is None) == (method == "specdec")
        assert record["n_candidates"] == (1 if method == "specdec" else 3)
        prefix = prefix.extended(base.step_of(prefix, record["token_ids"], 0.0))
    assert set(out["usage"]) == {"draft", "base"} | ({"reward"} if method == "specdec-sbon" else set())
    usage = out["usage"]
    assert usage["draft"]["generated_tokens"] == usage["base"]["scored_tokens"] > 0
    assert usage["base"]["generated_tokens"] > 0 == usage["draft"]["scored_tokens"]


def test_without_rewards_the_graph_draws_the_models_own_steps() -> None:
    out = graph("specdec").invoke({"problem": "p", "problem_id": "p"})
    draft, base = tables(7)
    law = SamplingLaw(max_step_tokens=4)
    (step,) = SpeculativeModel(draft, base, 2).sample(Prefix("p"), 1, Key(0, "p", 0, "draft"), law)
    assert out["steps"][0]["token_ids"] == list(step.token_ids)


@pytest.mark.parametrize(("role", "at"), [("draft", 5), ("base", 4)])
def test_a_crash_in_the_middle_of_a_step_changes_nothing(role: str, at: int) -> None:
    whole = graph("specdec-sbon").invoke({"problem": "p"})
    broken = parts()
    broken[role].next_log_probs = crash_once(broken[role].next_log_probs, at)
    resumed = compiled(parts=broken, method="specdec-sbon", checkpointer=InMemorySaver(), **FIELDS)
    with pytest.raises(Crash):
        resumed.invoke({"problem": "p"}, thread())
    assert plain(resumed.invoke(None, thread())) == plain(whole)


def test_models_without_next_token_laws_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"draft: method specdec-sbon needs whole next-token laws.* got Slow"):
        compiled(parts=models(), method="specdec-sbon")
