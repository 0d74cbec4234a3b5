"""A person steps into the solver's samples: each stops for itself, and what is written into one reaches no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import build_math_solver
from gsi_node.errors import ConfigError, ResumeMismatch
from tests.graph import thinkers
from tests.graph.world import config, models, thread

GIVEN = {"problem": "p", "n_samples": 3}
BY_HAND = {"steps": [{"text": "good by hand"}]}


def solver(saver: Any = None, stop: Any = ("fallback",), parts: Any = None, settings: Any = None) -> Any:
    graph = build_math_solver(**(parts or models()), config=settings or config(), interrupt_before=stop)
    return graph.compile(checkpointer=saver or InMemorySaver())


def told(result: dict[str, Any]) -> list[list[tuple[str, str]]]:
    """The steps of every sample, and whose they are."""
    return [[(step["text"], step["source"]) for step in sample["steps"]] for sample in result["samples"]]


def stopped(graph: Any) -> list[Any]:
    """The samples that wait, in their order."""
    return [task for task in graph.get_state(thread(), subgraphs=True).tasks if task.state and task.state.next]


def to_the_end(graph: Any) -> dict[str, Any]:
    out = graph.invoke(None, thread())
    while graph.get_state(thread()).next:
        out = graph.invoke(None, thread())
    return dict(out)


WHOLE = solver(stop=None).invoke(GIVEN, thread())


def test_samples_that_nobody_touched_are_as_if_they_had_never_stopped() -> None:
    graph = solver()
    graph.invoke(GIVEN, thread())
    waiting = stopped(graph)
    assert [task.state.next for task in waiting] == [("fallback",)] * 3
    for task, sample in zip(waiting, WHOLE["samples"], strict=True):
        at = len(task.state.values["steps"])
        assert task.state.values["gsi_refused"] == sample["steps"][at]["rejected"]
    out = to_the_end(graph)
    assert told(out) == told(WHOLE) and out["votes"] == WHOLE["votes"]


@pytest.mark.parametrize("which", [[1], [0, 2]])
def test_a_step_by_hand_is_its_samples_alone(which: list[int]) -> None:
    """Also where another process goes on: there the node is loaded to be looked into."""
    saver = InMemorySaver()
    solver(saver).invoke(GIVEN, thread())
    graph = solver(saver)
    waiting = stopped(graph)
    at = [len(task.state.values["steps"]) for task in waiting]
    for j in which:
        graph.update_state(waiting[j].state.config, BY_HAND, as_node="by_hand")
    out = told(to_the_end(solver(saver)))
    for j in range(3):
        if j in which:
            assert out[j][: at[j] + 1] == [*told(WHOLE)[j][: at[j]], ("good by hand\n\n", "human")]
        else:
            assert out[j] == told(WHOLE)[j]


async def test_awaited_it_is_the_same() -> None:
    graph = solver()
    await graph.ainvoke(GIVEN, thread())
    state = await graph.aget_state(thread(), subgraphs=True)
    await graph.aupdate_state(state.tasks[1].state.config, {"steps": [{"source": "draft"}]}, as_node="by_hand")
    refused = state.tasks[1].state.values["gsi_refused"]
    while (await graph.aget_state(thread())).next:
        out = await graph.ainvoke(None, thread())
    at = len(state.tasks[1].state.values["steps"])
    assert {**refused, "accepted_by": "human"} == out["samples"][1]["steps"][at]


def test_a_past_step_of_a_sample_is_refused() -> None:
    graph = solver()
    graph.invoke(GIVEN, thread())
    here = stopped(graph)[0].state.config["configurable"]["checkpoint_ns"]
    history = graph.get_state_history({"configurable": {"thread_id": "1", "checkpoint_ns": here}})
    past = next(state for state in history if state.next == ("draft",) and len(state.values["steps"]) == 1)
    edited = graph.update_state(past.config, BY_HAND, as_node="by_hand")
    with pytest.raises(ResumeMismatch, match="an edit at a past checkpoint inside of this node would be lost"):
        graph.invoke(None, edited)


def test_a_node_that_the_method_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="interrupt_before: .*got 'nowhere'"):
        solver(stop=["nowhere"]).invoke(GIVEN, thread())


def test_of_models_that_think_within_their_thinking_and_behind_it(tmp_path: Path) -> None:
    """The oracle is the node itself, to which the same steps are given."""
    parts = thinkers.parts(thinkers.build_pairs(tmp_path))
    settings = thinkers.config(threshold=0.9)
    saver = InMemorySaver()
    graph = solver(saver, parts=parts, settings=settings)
    graph.invoke({**thinkers.PROBLEM, "n_samples": 2}, thread())
    for task in stopped(graph):
        graph.update_state(task.state.config, {"steps": [{"text": " so so"}]}, as_node="by_hand")
    out = to_the_end(graph)
    for sample in out["samples"]:
        steps = sample["steps"]
        at = next(i for i, step in enumerate(steps) if step["source"] == "human")
        given = [{"text": step["text"], "token_ids": step["token_ids"]} for step in steps[: at + 1]]
        node = thinkers.run(
            parts,
            {**thinkers.PROBLEM, "problem_id": sample["problem_id"], "initial_steps": given},
            threshold=0.9,
        )
        assert node["steps"][at + 1 :] == steps[at + 1 :] and node["answer"] == sample["answer"]
        assert steps[at].get("thought") == node["steps"][at].get("thought")


def test_the_answers_message_counts_tokens_and_names_its_model() -> None:
    """As the node's does: of all samples together."""
    (message,) = [one for one in WHOLE["messages"] if isinstance(one, AIMessage)]
    usage, bills = message.usage_metadata, WHOLE["usage"].values()
    assert usage is not None and usage["output_tokens"] == sum(bill["generated_tokens"] for bill in bills) > 0
    assert usage["input_tokens"] == sum(bill["scored_tokens"] for bill in bills) > 0
    about = message.response_metadata
    assert about == {
        "model_name": "math_solver",
        "problem_id": about["problem_id"],
        **{name: WHOLE[name] for name in ("answer", "stop_reason")},
    }


def test_every_sample_goes_on_from_the_steps_that_are_given() -> None:
    cut = [{"text": "good 0\n\n"}, {"text": "bad 1"}]
    out = solver(stop=None).invoke({**GIVEN, "initial_steps": cut}, thread())
    assert len(out["samples"]) == 3
    for sample in out["samples"]:
        assert [step["source"] for step in sample["steps"][:2]] == ["initial"] * 2
        assert [step["text"] for step in sample["steps"][:2]] == ["good 0\n\n", "bad 1\n\n"]
    with pytest.raises(ConfigError, match="initial_steps"):
        solver(stop=None).invoke({**GIVEN, "initial_steps": [{"text": 5}]}, thread())
