"""The solver graph: parallel samples, their ids, the vote, the same result sync and async, and what it exports."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from graphs.math_solver import graph
from gsi_node import GSIConfig, MathSolver, compile_gsi
from gsi_node.core.choose import plain_answer
from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.graph.solver.math_solver import CompiledSolver
from gsi_node.graph.solver.state import SolverOutput, add_samples
from gsi_node.graph.solver.votes import answer_of, votes_of
from gsi_node.graph.state import add_usage
from gsi_node.tables.rewards import TableReward
from gsi_node.types import default_id
from tests.graphs.tables import SETTINGS, compiled, models

ROOT = Path(__file__).resolve().parents[2]


def untimed(value: Any) -> Any:
    """A result without its wall seconds and message ids, which no seed determines."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in ("seconds", "messages")}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def test_sample_0_is_the_plain_node_and_the_others_are_the_node_under_their_own_ids() -> None:
    result = compiled().invoke({"problem": "two", "n_samples": 3})
    node = compile_gsi(**models(), config=SETTINGS)
    for sample in result["samples"]:
        j = sample["index"]
        problem_id = default_id("two") + (f"/{j}" if j else "")
        alone = node.invoke({"problem": "two"} if j == 0 else {"problem": "two", "problem_id": problem_id})
        assert sample["problem_id"] == problem_id
        assert untimed(sample["steps"]) == alone["steps"]
    assert [sample["index"] for sample in result["samples"]] == [0, 1, 2]


def test_more_samples_leave_the_first_as_they_are_and_differ_among_themselves() -> None:
    few, many = (compiled().invoke({"problem": "two", "n_samples": k})["samples"] for k in (2, 8))
    assert untimed(many[:2]) == untimed(few)
    assert len({str(untimed(sample["steps"])) for sample in many}) > 1


async def test_sync_and_async_agree_and_repeat() -> None:
    given = {"problem": "two", "n_samples": 3}
    once, again, awaited = compiled().invoke(given), compiled().invoke(given), await compiled().ainvoke(given)
    assert untimed(once) == untimed(again) == untimed(awaited)
    other = compiled(config=SETTINGS.model_copy(update={"seed": 1})).invoke(given)
    assert untimed(other)["samples"] != untimed(once)["samples"]


def test_the_result_is_that_of_a_voter_for_the_winner_with_everyones_usage() -> None:
    result = compiled().invoke({"problem": "two", "n_samples": 8})
    winner = result["votes"][0]
    assert plain_answer(result["answer"]) == plain_answer(winner["answer"])
    chosen = [sample for sample in result["samples"] if sample["response"] == result["response"]]
    assert set(winner["samples"]) >= {sample["index"] for sample in chosen}
    total: dict[str, Any] = {}
    for sample in result["samples"]:
        total = add_usage(total, sample["usage"])
    assert result["usage"] == total
    assert [message.content for message in result["messages"]] == [result["response"]]
    assert set(result) == set(SolverOutput.__annotations__)


def sample(index: int, answer: str | None, weight: float) -> dict[str, Any]:
    about: dict[str, Any] = {"index": index, "problem_id": f"p/{index}", "answer": answer, "weight": weight}
    rest: dict[str, Any] = {"steps": [], "stop_reason": "answer", "usage": {}, "acceptance_rate": None}
    return {**about, "response": f"response {index}", **rest}


@pytest.mark.parametrize(
    ("samples", "votes", "response"),
    [
        ([("7", 0.5), ("8", 0.6), ("7", 0.2)], [("7", [0, 2]), ("8", [1])], 0),  # weights add up
        ([("8", 0.3), ("7", 0.6), ("7 ", 0.9)], [("7", [1, 2]), ("8", [0])], 2),  # the heaviest voter speaks
        ([("8", 0.5), ("7", 0.5)], [("8", [0]), ("7", [1])], 0),  # a tie: the lowest index
        ([("7", 0.5), ("8", 0.25), ("8", 0.25)], [("7", [0]), ("8", [1, 2])], 0),  # also between groups
        ([(r"\dfrac12", 0.4), (r"$\frac 12$", 0.4), ("1", 0.5)], [(r"\dfrac12", [0, 1]), ("1", [2])], 0),
        ([(None, 0.9), ("7", 0.0)], [("7", [1])], 1),  # no answer, no vote
        ([(None, 0.3), (None, 0.4)], [], 1),  # no answer at all: the heaviest response
    ],
)
def test_votes(samples: list[tuple[str | None, float]], votes: list[tuple[str, list[int]]], response: int) -> None:
    state: Any = {"run": {"problem_id": "p"}, "samples": [sample(j, *one) for j, one in enumerate(samples)]}
    state |= votes_of(state)
    assert [(vote["answer"], vote["samples"]) for vote in state["votes"]] == votes
    result = answer_of(state)
    assert result["response"] == f"response {response}"
    assert result["answer"] == samples[response][0]


def test_a_vote_weighs_the_last_steps_reward_on_the_rewards_range() -> None:
    parts = models()
    for sample in compiled(parts).invoke({"problem": "two", "n_samples": 4})["samples"]:
        assert sample["weight"] == sample["steps"][-1]["reward"]
    parts["reward"] = TableReward(lambda prefix, step: 0.5, range=(-1.0, 1.0))
    result = compiled(parts).invoke({"problem": "two", "n_samples": 2})
    assert [sample["weight"] for sample in result["samples"]] == [0.75, 0.75]
    plain = compiled(config=GSIConfig(method="draft")).invoke({"problem": "two", "n_samples": 2})
    assert [sample["weight"] for sample in plain["samples"]] == [1.0, 1.0]
    assert sum(vote["weight"] for vote in plain["votes"]) == sum(s["answer"] is not None for s in plain["samples"])


def test_samples_stand_in_the_order_of_their_index() -> None:
    assert add_samples([{"index": 2}], [{"index": 0}]) == [{"index": 0}, {"index": 2}]


def test_a_human_message_is_a_problem_too_and_a_second_problem_on_a_thread_starts_clean() -> None:
    alone = SETTINGS.model_copy(update={"earlier_messages": "ignore"})
    graph = compiled(checkpointer=InMemorySaver(), config=alone)
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke({"problem": "one", "n_samples": 3}, thread)
    second = graph.invoke({"messages": [HumanMessage("two")]}, thread)
    assert untimed(second["samples"]) == untimed(compiled().invoke({"problem": "two"})["samples"])


@pytest.mark.parametrize("given", [{}, {"problem": " "}, {"problem": "x", "n_samples": 0}, {"problem": 7}])
def test_wrong_input_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"want a non-empty string|want \{'problem'|want an integer"):
        compiled().invoke(given)


def test_steps_are_streamed_out_of_every_sample_and_the_context_reaches_them() -> None:
    stream = compiled().stream(
        {"problem": "two", "n_samples": 3}, stream_mode="custom", subgraphs=True, context={"max_steps": 2}
    )
    steps = [event["gsi_step"] for namespace, event in stream if namespace]
    name = default_id("two")
    assert {(step["problem_id"], step["index"]) for step in steps} == {
        (each, i) for each in (name, name + "/1", name + "/2") for i in (0, 1)
    }


def test_it_can_be_mounted_in_a_larger_graph() -> None:
    parent: Any = StateGraph(SolverOutput)
    parent.add_node("solver", lambda state: compiled().invoke({"problem": "two"}))
    parent.add_edge(START, "solver")
    assert parent.compile().invoke({})["response"] == compiled().invoke({"problem": "two"})["response"]


def test_models_are_loaded_when_needed_and_only_those_the_method_asks() -> None:
    parts = {**models(), "reward": "no-such-kind:x", "base": "no-such-kind:x"}
    lazy = MathSolver(**parts, config=GSIConfig(method="draft"))
    assert lazy.identity()["models"] == {"draft": parts["draft"].fingerprint}
    assert lazy.build().compile().invoke({"problem": "two"})["stop_reason"] == "eos"
    with pytest.raises(ConfigError, match="no-such-kind"):
        MathSolver(**parts, config=SETTINGS).build().compile().invoke({"problem": "two"})


def test_langgraphs_tools_find_a_compiled_graph_and_importing_it_loads_no_weights() -> None:
    where = json.loads((ROOT / "langgraph.json").read_text("utf-8"))["graphs"]["math_solver"]
    file, name = where.split(":")
    code = (
        "import importlib.util, json, sys\n"
        f"spec = importlib.util.spec_from_file_location('loaded', {str(ROOT / file)!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        f"graph = module.__dict__[{name!r}]; graph.get_input_jsonschema(); graph.get_graph().draw_mermaid()\n"
        "print(json.dumps([type(graph).__name__, sorted({'torch', 'transformers'} & set(sys.modules))]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert json.loads(found) == [CompiledSolver.__name__, []]
    assert importlib.util.find_spec("langgraph") is not None


def test_a_chat_with_the_graph_of_langgraphs_tools_goes_on() -> None:
    cut = {"n": 1, "max_steps": 1, "max_tokens": 8}
    asked = [{"messages": [HumanMessage(f"What is {i} + 3?")]} for i in (2, 4)]
    first = graph.invoke(asked[0], context=cut)
    second = graph.invoke({"messages": [*first["messages"], *asked[1]["messages"]]}, context=cut)
    assert untimed(second["samples"]) == untimed(graph.invoke(asked[1], context=cut)["samples"])


def test_samples_of_different_models_do_not_vote_together() -> None:
    """A spec names a folder, and what lies in it may change between the samples of a run that is resumed."""
    one, thread = MathSolver(**models(), config=SETTINGS), RunnableConfig(configurable={"thread_id": "t"})
    graph = one.build().compile(checkpointer=InMemorySaver())
    result: Any = graph.invoke({"problem": "p", "n_samples": 2}, thread)
    state: Any = graph.get_state(thread).values
    first, second = state["origins"]
    assert first["models"] == second["models"] == {role: model.fingerprint for role, model in models().items()}
    assert "models" not in result["samples"][0] and "origins" not in result
    other = {**second, "models": {**first["models"], "base": "of other weights"}}
    earlier: Any = {**state, "origins": [second]}  # the first sample is of a version that did not tell
    assert votes_of(earlier)["votes"] == result["votes"]
    mixed: Any = {**state, "origins": [first, other]}
    with pytest.raises(ResumeMismatch, match="samples 0 and 1 of this run come from different models: base "):
        votes_of(mixed)
