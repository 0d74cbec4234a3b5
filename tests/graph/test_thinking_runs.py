"""Runs of models that think, however they are called, ended and begun: the same tokens; and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import ValidationError

from gsi_node import Models, build_math_solver, compile_gsi, load_model, load_reward, solve
from gsi_node.answer import last_boxed
from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.graph.solver.votes import weight_of
from gsi_node.models.remote import RemoteModel
from gsi_node.step.records import decided, unmeasured_record
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.thinkers import (
    BOTH,
    CLOSING,
    PROBLEM,
    REWARD,
    config,
    forced,
    ids,
    length,
    model,
    parts,
    run,
    seed_of,
)
from tests.graph.world import plain, thread
from tests.service.running import running
from tests.thinker import USUAL, build_thinker


@BOTH
def test_solve_async_and_stream_give_the_same(root: Path, opened: str) -> None:
    whole, given, place = forced(root, opened)
    seed, bound = seed_of(root, opened), {"max_thinking_tokens": 12}
    own = Models(**parts(root, opened))
    alone = solve("1+1", own, config(seed=seed, **bound))
    told = (alone.response, alone.answer, alone.stop_reason, alone.acceptance_rate)
    assert told == tuple(whole[key] for key in ("response", "answer", "stop_reason", "acceptance_rate"))
    assert alone.steps == whole["steps"]
    graph = compile_gsi(**parts(root, opened), config=config(seed=seed, **bound))
    assert plain(asyncio.run(graph.ainvoke(PROBLEM)))["steps"] == whole["steps"]
    events = [event["gsi_step"] for event in graph.stream(PROBLEM, stream_mode="custom")]
    assert [event["index"] for event in events] == list(range(len(ids(whole))))
    assert {key: events[place][key] for key in given} == given


@BOTH
def test_a_kill_anywhere_changes_no_token(root: Path, opened: str) -> None:
    """Within thinking too; and what closes it comes with the step before it, in one update."""
    seed, bound, saver = seed_of(root, opened), {"max_thinking_tokens": 12}, InMemorySaver()
    whole = run(parts(root, opened), saver=saver, seed=seed, **bound)
    thinking = model(root, opened).thinking
    assert thinking is not None
    graph = compile_gsi(**parts(root, opened), config=config(seed=seed, **bound), checkpointer=saver)
    history = [state for state in graph.get_state_history(thread()) if state.next and state.values.get("gsi_run")]
    insides = 0
    for state in history:
        done = state.values["steps"]
        inside, tokens = thinking.after(tuple(step["token_ids"]) for step in done)
        assert not inside or tokens < 12
        insides += inside and bool(done)
        resumed = graph.invoke(None, state.config)
        assert ids(resumed) == ids(whole) and resumed["stop_reason"] == whole["stop_reason"]
    assert insides >= 3 and len(history) > len(ids(whole))


def test_over_the_wire_it_thinks_as_in_process(root: Path) -> None:
    """`gsi serve` tells how its model thinks; a reward behind it is told what of a step is thinking."""
    whole = forced(root, "prompt")[0]
    thoughts: list[tuple[int, ...]] = []

    class Watching(TableReward):
        def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
            thoughts.append(tuple(step.thought for step in prefix.steps))
            return super().__call__(prefix, steps)

    own = parts(root, "prompt")
    watching = Watching(length, name="length")
    with running(model=own["draft"]) as draft, running(model=own["base"]) as base, running(reward=watching) as reward:
        served: dict[str, Any] = {role: load_model(f"remote:{url}") for role, url in (("draft", draft), ("base", base))}
        assert isinstance(served["draft"], RemoteModel) and served["draft"].thinking == own["draft"].thinking
        served["reward"] = load_reward(f"remote:{reward}")
        result = run(served, seed=seed_of(root, "prompt"), max_thinking_tokens=12)
        for part in served.values():
            part.close()
    assert ids(result) == ids(whole) and result["answer"] == whole["answer"]
    assert thoughts[-1] == tuple(step.get("thought", 0) for step in whole["steps"][:-1])


def test_initial_steps_may_stand_within_thinking(root: Path) -> None:
    """As records of an earlier run, and as texts; thinking that they have used up is closed at once."""
    whole, _, place = forced(root, "prompt")
    seed, bound = seed_of(root, "prompt"), {"max_thinking_tokens": 12}
    for at in (1, place, place + 1):
        begun = {**PROBLEM, "initial_steps": whole["steps"][:at]}
        result = run(parts(root, "prompt"), begun, seed=seed, **bound)
        assert ids(result) == ids(whole) and result["answer"] == whole["answer"]
        assert [step["source"] for step in result["steps"][: place + 1]].count("given") == (at != place + 1)
    text = {**PROBLEM, "initial_steps": [{"text": "so \\boxed{7}."}]}
    first = run(parts(root, "prompt"), text, seed=seed, **bound)["steps"][0]
    assert first["thought"] == len(first["text"]) and first["source"] == "initial"


def test_the_solver_votes_on_what_stands_behind_thinking(root: Path) -> None:
    """As users call it, and no recursion limit is asked for."""
    own = parts(root)
    solver = build_math_solver(own["draft"], own["base"], own["reward"], config(max_tokens=60)).compile()
    result = solver.invoke({**PROBLEM, "n_samples": 6})
    assert len(result["samples"]) == 6 and any("\\boxed" in sample["response"] for sample in result["samples"])
    for sample in result["samples"]:
        said = sample["response"].partition("</think>")[2]
        assert sample["answer"] == last_boxed(said)
    assert sum(len(vote["samples"]) for vote in result["votes"]) == sum(
        s["answer"] is not None for s in result["samples"]
    )


def test_a_vote_weighs_as_the_last_step_that_was_decided() -> None:
    record = {"source": "draft", "reward": 0.25}
    given = unmeasured_record(Step(CLOSING, (1, 2, 3), 0.0, False, thought=9), "given")
    assert weight_of([record, given], (0.0, 1.0)) == 0.25


def test_a_trace_of_172_paragraphs_and_more(root: Path, tmp_path: Path) -> None:
    """Through node and solver, without a recursion limit."""
    endless = build_thinker(
        tmp_path / "endless", opened="prompt", laws={**USUAL, ".\n\n": {" the": 1.0}, "}.": {".\n\n": 1.0}}
    )
    own = load_model(f"hf:{endless}")
    many = config(method="draft", max_steps=400, max_tokens=4000, max_thinking_tokens=880)
    result = compile_gsi(draft=own, base=None, reward=None, config=many).invoke(PROBLEM)
    assert len(result["steps"]) > 172 and result["stop_reason"] == "answer"
    solved = build_math_solver(own, config=many).compile().invoke(PROBLEM)
    assert ids(solved) == ids(result)


def test_a_bound_without_thinking_is_refused(root: Path) -> None:
    """When the graph is built, and when a run overrides it."""
    off = model(root, "itself", "&enable_thinking=false")
    for own in (off, TableModel({"a\n\n": 1.0})):
        both: dict[str, Any] = {"draft": own, "base": own, "reward": REWARD}
        with pytest.raises(ConfigError, match=r"max_thinking_tokens: .* do not think"):
            run(both, max_thinking_tokens=8)
        with pytest.raises(ConfigError, match=r"max_thinking_tokens: .* do not think"):
            solve("1+1", Models(own, own, REWARD), config(max_thinking_tokens=8))
        with pytest.raises(ConfigError, match=r"max_thinking_tokens: .* do not think"):
            compile_gsi(**both, config=config()).invoke(PROBLEM, context={"max_thinking_tokens": 8})
    with pytest.raises(ValidationError, match="max_thinking_tokens"):
        config(max_thinking_tokens=0)


def test_a_run_may_override_the_bound(root: Path) -> None:
    whole = forced(root)[0]
    graph = compile_gsi(**parts(root), config=config(seed=seed_of(root)))
    assert ids(graph.invoke(PROBLEM, context={"max_thinking_tokens": 12})) == ids(whole)


def test_models_that_do_not_think_alike_are_refused_by_name(root: Path) -> None:
    off = model(root, "itself", "&enable_thinking=false")
    for draft, words in ((off, "does not think and"), (model(root, "prompt"), "its block opened by the prompt")):
        with pytest.raises(ConfigError, match=rf"must think alike, but .*{words}.*enable_thinking=false"):
            run({"draft": draft, "base": model(root), "reward": REWARD})


def test_a_lost_draft_stays_lost_behind_what_is_given(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, calls = parts(root, "prompt"), []
    drawn = own["draft"].sample

    def sample(*args: Any) -> Any:
        calls.append(args)
        if len(calls) > 1:
            raise BackendUnavailable("gone")
        return drawn(*args)

    monkeypatch.setattr(own["draft"], "sample", sample)
    result = run(own, max_thinking_tokens=8, allow_degraded=True, seed=seed_of(root, "prompt"))
    sources = [step["source"] for step in result["steps"]]
    assert "given" in sources and len(calls) == 2 and result["degraded"] == "gone"
    assert all(step.get("degraded") == "gone" for step in decided(result["steps"])[1:])
