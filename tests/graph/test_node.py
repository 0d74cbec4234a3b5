"""The node on table models: what goes in, what comes out, in every method, sync and async."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node.errors import ConfigError
from gsi_node.graph.build import compile_gsi
from gsi_node.step import judging
from gsi_node.step.law import exact_step_law
from gsi_node.step.methods import METHODS
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.graph.world import compiled, config, plain, thread
from tests.oracles import step_law

OF_STEPS = [name for name in METHODS if METHODS[name].propose != "specdec"]  # the others need tables of tokens
OUTPUTS = {"response", "answer", "steps", "stop_reason", "usage", "acceptance_rate", "degraded", "messages"}
RECORD = {
    "text", "token_ids", "source", "accepted", "reward", "log_prob_draft", "log_prob_base", "log_ratio",
    "log_ratio_error", "tilted_reward", "ess", "log_mean_weight", "n_candidates",
}  # fmt: skip


def test_a_run_gives_every_output() -> None:
    out = compiled().invoke({"problem": "p"})
    assert out.keys() == OUTPUTS
    assert out["response"] == "".join(step["text"] for step in out["steps"])
    assert out["answer"] in ("7", "8")
    assert out["stop_reason"] == "eos"
    assert len(out["steps"]) == 6
    assert out["acceptance_rate"] == sum(s["accepted"] for s in out["steps"]) / 6
    (message,) = out["messages"]
    assert isinstance(message, AIMessage) and message.content == out["response"]
    sources = {(step["source"], step["accepted"]) for step in out["steps"]}
    assert sources == {("draft", True), ("base", False)}  # the world is made so that both happen
    for step in out["steps"]:
        assert step.keys() >= RECORD
        assert json.loads(json.dumps(step)) == step


def test_accepted_and_refused_records_carry_their_numbers() -> None:
    out = compiled().invoke({"problem": "p"})
    for step in out["steps"]:
        if step["accepted"]:
            assert step["log_ratio"] == pytest.approx(step["log_prob_base"] - step["log_prob_draft"])
            assert step["tilted_reward"] == pytest.approx(step["reward"] + step["log_ratio"] / 4.0)
            assert step["log_ratio_error"] == 0.0
            assert step["tilted_reward"] >= 0.6
            assert "rejected" not in step
        else:
            assert step["log_prob_draft"] is step["log_ratio"] is step["tilted_reward"] is None
            assert step["log_ratio_error"] is None
            assert step["log_prob_base"] < 0.0
            assert step["rejected"]["source"] == "draft"
            assert step["rejected"]["tilted_reward"] < 0.6
        assert 0.999 <= step["ess"] <= 3.001 and math.isfinite(step["log_mean_weight"])
        assert step["n_candidates"] == 3


NONE_BY_METHOD = {
    "gsi-no-fallback": set(),
    "sbon-draft": {"log_prob_base", "log_ratio", "log_ratio_error", "tilted_reward"},
    "sbon-base": {"log_prob_draft", "log_ratio", "log_ratio_error", "tilted_reward"},
    "bon-draft": {"log_prob_base", "log_ratio", "log_ratio_error", "tilted_reward", "ess", "log_mean_weight"},
    "cgs": {"reward", "tilted_reward", "ess", "log_mean_weight"},
    "lgs": {"reward", "log_ratio", "log_ratio_error", "tilted_reward", "ess", "log_mean_weight"},
    "draft": {"log_prob_base", "log_ratio", "log_ratio_error", "tilted_reward", "ess", "log_mean_weight", "reward"},
    "base": {"log_prob_draft", "log_ratio", "log_ratio_error", "tilted_reward", "ess", "log_mean_weight", "reward"},
}


@pytest.mark.parametrize("method", NONE_BY_METHOD)
def test_what_a_method_does_not_compute_is_none(method: str) -> None:
    out = compiled(method=method).invoke({"problem": "p"})
    for step in out["steps"]:
        assert {key for key in RECORD if step[key] is None} == NONE_BY_METHOD[method]
        assert step["accepted"] and step["source"] == METHODS[method].propose
        assert step["n_candidates"] == (1 if METHODS[method].single else 3)


@pytest.mark.parametrize("method", OF_STEPS)
def test_only_the_models_a_method_uses_are_asked(method: str) -> None:
    rule = METHODS[method]
    graph = compiled(method=method)
    nodes = set(graph.get_graph().nodes)
    assert ("score_base" in nodes) == rule.uses_score
    assert ("fallback" in nodes) == (rule.fallback is not None)
    assert ("reward" in nodes) == rule.uses_reward
    out = graph.invoke({"problem": "p"})
    assert set(out["usage"]) == rule.models
    for bill in out["usage"].values():
        tokens = {"generated_tokens", "scored_tokens", "generated_positions", "discarded_tokens"}
        assert bill.keys() == tokens | {"calls", "seconds"}


def test_usage_counts_tokens_and_calls() -> None:
    out = compiled(record="candidates").invoke({"problem": "p"})
    drafted = fallen = 0
    for step in out["steps"]:
        batch = step if step["accepted"] else step["rejected"]
        drafted += sum(len(c["token_ids"]) for c in batch["candidates"])
        fallen += 0 if step["accepted"] else sum(len(c["token_ids"]) for c in step["candidates"])
    refused = sum(not step["accepted"] for step in out["steps"])
    usage = plain(out)["usage"]
    assert usage["draft"] == {
        "generated_tokens": drafted,
        "generated_positions": drafted,
        "discarded_tokens": 0,
        "scored_tokens": 0,
        "calls": 6,
    }
    assert usage["base"] == {
        "generated_tokens": fallen,
        "generated_positions": fallen,
        "discarded_tokens": 0,
        "scored_tokens": drafted,
        "calls": 6 + refused,
    }
    assert usage["reward"] == {
        "generated_tokens": 0,
        "generated_positions": 0,
        "discarded_tokens": 0,
        "scored_tokens": drafted + fallen,
        "calls": 6 + refused,
    }


def test_record_candidates_keeps_each_of_them() -> None:
    out = compiled(record="candidates").invoke({"problem": "p"})
    step = next(step for step in out["steps"] if step["accepted"])
    assert len(step["candidates"]) == 3
    assert step["text"] in {candidate["text"] for candidate in step["candidates"]}
    assert all(c["log_ratio"] == c["log_prob_base"] - c["log_prob_draft"] for c in step["candidates"])


@pytest.mark.parametrize("method", OF_STEPS)
async def test_sync_and_async_agree(method: str) -> None:
    graph = compiled(method=method)
    assert plain(await graph.ainvoke({"problem": "p"})) == plain(graph.invoke({"problem": "p"}))


def test_seed_problem_id_and_problem_name_the_streams() -> None:
    graph = compiled(length=12, n=1, threshold=-9.0)

    def texts(**fields: Any) -> str:
        return str(graph.invoke({"problem": "p", **fields})["response"])

    assert texts() == texts()
    assert texts() != texts(problem_id="other")
    assert texts(problem_id=3) == texts(problem_id="3")
    assert texts(problem="q", problem_id="x") == texts(problem_id="x")
    assert texts() != graph.invoke({"problem": "p"}, context={"seed": 1})["response"]


def test_ignoring_the_rest_messages_give_the_last_human_problem() -> None:
    graph = compiled(earlier_messages="ignore")
    chat = [HumanMessage("first"), AIMessage("hm"), HumanMessage("p"), AIMessage("plan")]
    out = graph.invoke({"messages": chat})
    assert out["response"] == graph.invoke({"problem": "p"})["response"]
    assert [type(m).__name__ for m in out["messages"]] == ["HumanMessage", "AIMessage"] * 2 + ["AIMessage"]


def test_earlier_messages_are_refused_where_asked() -> None:
    graph = compiled(earlier_messages="refuse")
    assert graph.invoke({"messages": [HumanMessage("q")]})["answer"] == compiled().invoke({"problem": "q"})["answer"]
    with pytest.raises(ConfigError, match="2 stand before the last human message"):
        graph.invoke({"messages": [HumanMessage("a"), AIMessage("b"), HumanMessage("q")]})


def test_initial_steps_are_gone_on_from() -> None:
    graph = compiled()
    whole = graph.invoke({"problem": "p"})
    cut = [{"text": step["text"]} for step in whole["steps"][:2]]
    out = graph.invoke({"problem": "p", "initial_steps": cut})
    assert [step["text"] for step in out["steps"]] == [step["text"] for step in whole["steps"]]
    assert [step["source"] for step in out["steps"][:3]] == ["initial", "initial", whole["steps"][2]["source"]]
    assert out["acceptance_rate"] == sum(s["accepted"] for s in whole["steps"][2:]) / 4
    assert graph.invoke({"problem": "p", "initial_steps": [{"text": "mine"}]})["response"].startswith("mine\n\ngood 1")


def test_an_answer_already_given_ends_the_run() -> None:
    out = compiled().invoke({"problem": "p", "initial_steps": [{"text": r"\boxed{3}"}]})
    assert (out["answer"], out["stop_reason"], out["acceptance_rate"]) == ("3", "answer", None)


def test_stop_reasons() -> None:
    assert compiled(max_steps=2).invoke({"problem": "p"})["stop_reason"] == "max_steps"
    assert compiled(max_tokens=10).invoke({"problem": "p"})["stop_reason"] == "max_tokens"
    boxed = TableModel({"\\boxed{1}\n\n": 1.0})
    reward = TableReward({"\\boxed{1}\n\n": 0.9})
    parts = {"draft": boxed, "base": boxed, "reward": reward}
    assert compiled(parts=parts).invoke({"problem": "p"})["stop_reason"] == "answer"
    assert compiled(parts=parts, max_steps=1, max_tokens=1).invoke({"problem": "p"})["stop_reason"] == "answer"
    last = compiled(length=0, max_steps=1, max_tokens=1).invoke({"problem": "p"})
    assert last["stop_reason"] == "eos" and last["answer"] in ("7", "8")


def test_one_custom_event_a_decided_step() -> None:
    graph = compiled()
    events = [event["gsi_step"] for event in graph.stream({"problem": "p"}, stream_mode="custom")]
    steps = graph.invoke({"problem": "p"})["steps"]
    assert [{k: v for k, v in e.items() if k not in ("problem_id", "index")} for e in events] == steps
    assert [event["index"] for event in events] == list(range(6))


def test_a_batch_of_zero_weights_falls_back() -> None:
    parts = {
        "draft": TableModel({"a": 1.0}),
        "base": TableModel({"b": 1.0}),
        "reward": TableReward({"a": 0.9, "b": 0.1}),
    }
    (step,) = compiled(parts=parts).invoke({"problem": "p"})["steps"]
    assert step["text"] == "b" and step["rejected"]["text"] is None
    assert step["rejected"]["log_mean_weight"] == -math.inf


# --- the graph and the exact law are the same stages ----------------------------------------------------------------

DRAFT = {"a": 0.5, "b": 0.3, "c": 0.2}
BASE = {"a": 0.1, "b": 0.3, "c": 0.6}
REWARD = {"a": 0.9, "b": 0.3, "c": 0.6}


def frequencies(method: str, runs: int) -> dict[str, float]:
    graph = compile_gsi(
        draft=TableModel(DRAFT), base=TableModel(BASE), reward=TableReward(REWARD), config=config(method=method, n=2)
    )
    counts = Counter(graph.invoke({"problem": "p", "problem_id": i})["response"] for i in range(runs))
    return {text: counts[text] / runs for text in DRAFT}


def law(method: str) -> dict[str, float]:
    return exact_step_law(method, draft=DRAFT, base=BASE, reward=REWARD, config=config(n=2))


def oracle_law(method: str) -> dict[str, float]:
    """The same, by formulas that use nothing of the package."""
    settings = config(n=2)
    u, delta, log_c = settings.threshold, settings.delta, settings.resolved_log_c
    return step_law(method, DRAFT, BASE, REWARD, n=2, m=2, beta=settings.beta, u=u, delta=delta, log_c=log_c)


@pytest.mark.parametrize("method", ["gsi", "gsi-ic", "rsd"])
def test_the_graphs_steps_follow_the_exact_law(method: str) -> None:
    found, exact = frequencies(method, 400), oracle_law(method)
    for text in DRAFT:  # 4 standard errors; the streams are fixed, so this does not flicker
        assert abs(found[text] - exact[text]) < 4 * math.sqrt(exact[text] * (1 - exact[text]) / 400) + 1e-9


def test_patching_a_stage_changes_the_graph_and_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    found, exact, soft = frequencies("gsi", 30), law("gsi"), law("sbon-base")
    with monkeypatch.context() as planted:
        planted.setattr(judging, "select", lambda *args: 0)
        assert law("sbon-draft") == pytest.approx(DRAFT)
    monkeypatch.setattr(judging, "accept", lambda *args: False)
    assert law("gsi") != exact
    assert law("gsi") == pytest.approx(soft)
    assert frequencies("gsi", 30) != found


def test_two_problems_on_one_thread_do_not_mix() -> None:
    graph = compiled(checkpointer=InMemorySaver(), earlier_messages="ignore")
    first = graph.invoke({"problem": "p"}, thread())
    assert plain(graph.invoke({"problem": "p"}, thread()))["steps"] == first["steps"]
    second = graph.invoke({"messages": [HumanMessage("q")]}, thread())
    alone = compiled().invoke({"messages": [HumanMessage("q")]})
    assert second["steps"] == alone["steps"] and plain(second)["usage"] == plain(alone)["usage"]
    third = graph.invoke({"problem": "r", "initial_steps": [{"text": "x"}]}, thread())
    assert third["steps"][0]["text"] == "x\n\n"
    assert graph.invoke({"problem": "p"}, thread())["steps"] == first["steps"]


async def test_many_at_once() -> None:
    graph = compiled()
    problems = [{"problem": f"p{i}"} for i in range(8)]
    one_by_one = [plain(graph.invoke(p)) for p in problems]
    assert [plain(out) for out in graph.batch(problems)] == one_by_one
    assert [plain(out) for out in await graph.abatch(problems)] == one_by_one
    together = await asyncio.gather(*(graph.ainvoke(p) for p in problems))
    assert [plain(out) for out in together] == one_by_one
