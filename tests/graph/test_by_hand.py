"""A person stops a run, writes a step or lets the refused draft pass, takes it back, forks it: at the root and mounted.

The oracle is a run to which the same steps were given (`initial_steps`): it draws from the same streams from there on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from gsi_node import compile_gsi
from gsi_node.errors import ResumeMismatch
from gsi_node.step.records import acceptance_rate, decided
from tests.graph.test_persistence import Crash, crash_once
from tests.graph.world import compiled, config, models, thread

PROBLEM = {"problem": "p"}
WHOLE = compiled().invoke(PROBLEM)
AT = next(i for i, step in enumerate(WHOLE["steps"]) if step["source"] == "base")
"""Where the run falls back for the first time."""
NUMBERS = ("reward", "ess", "log_mean_weight", "n_candidates")
EVERYWHERE = pytest.mark.parametrize("mounted", ["root", None, True])
HONOURED = pytest.mark.parametrize("mounted", ["root", True])


class Parent(TypedDict, total=False):
    problem: str
    steps: list[Any]
    response: str
    answer: str
    stop_reason: str
    acceptance_rate: float


class Place:
    """The node at the root, or in a parent's node, over a saver; its stops, edits and past are reached alike."""

    def __init__(self, mounted: Any, parts: Any = None, stop: Sequence[str] = ("fallback",), **fields: Any) -> None:
        self.root = mounted == "root"
        saver = InMemorySaver() if self.root else mounted
        given: Any = {**(parts or models()), "config": config(**fields), "interrupt_before": list(stop)}
        self.graph: Any = compile_gsi(**given, checkpointer=saver)
        if not self.root:
            parent: Any = StateGraph(Parent)
            parent.add_node("solve", self.graph)
            parent.add_edge(START, "solve")
            self.graph = parent.compile(checkpointer=InMemorySaver())

    def begin(self) -> Place:
        self.graph.invoke(PROBLEM, thread())
        return self

    @property
    def stop(self) -> Any:
        state = self.graph.get_state(thread(), subgraphs=True)
        return state if self.root or not state.next else state.tasks[0].state

    def past(self, node: str, count: int) -> Any:
        """The checkpoint at which `node` comes next and `count` steps stand."""
        here = self.stop.config["configurable"]
        space = {"configurable": {"thread_id": "1", "checkpoint_ns": here["checkpoint_ns"]}}
        history = list(self.graph.get_state_history(space))
        (found,) = [s for s in history if node in s.next and len(s.values["steps"]) == count and "gsi_run" in s.values]
        return found.config

    def write(self, step: Any, config: Any = None, node: str = "by_hand") -> Any:
        return self.graph.update_state(config or self.stop.config, {"steps": [step]}, as_node=node)

    def end(self, config: Any = None, **context: Any) -> Any:
        """The result, by going on from a config and then wherever it stops."""
        own = (context if self.root else {"gsi": context}) if context else None
        out = self.graph.invoke(None, config or thread(), context=own)
        while self.graph.get_state(thread()).next:
            out = self.graph.invoke(None, thread())
        return out


def given(steps: Sequence[Any], context: Any = None, **fields: Any) -> list[Any]:
    """The steps that follow where these are given."""
    cut = [{"text": step["text"], "token_ids": step["token_ids"]} for step in steps]
    out = compiled(**fields).invoke({**PROBLEM, "initial_steps": cut}, context=context)
    return list(out["steps"][len(steps) :])


@EVERYWHERE
def test_no_edit_equals_never_stopped(mounted: Any) -> None:
    place = Place(mounted).begin()
    assert place.stop.next == ("fallback",) and len(place.stop.values["steps"]) == AT
    assert place.stop.values["gsi_refused"] == WHOLE["steps"][AT]["rejected"]
    out = place.end()
    for key in Parent.__annotations__.keys() - {"problem"}:
        assert out[key] == WHOLE[key]


@EVERYWHERE
@pytest.mark.parametrize("node", ["by_hand", "fallback", "tilt_and_accept"])
def test_what_the_fallback_would_have_written_written_by_hand(mounted: Any, node: str) -> None:
    fallen = WHOLE["steps"][AT]
    place = Place(mounted).begin()
    place.write({"text": fallen["text"].rstrip()}, node=node)
    out = place.end()
    mine = {**fallen, **dict.fromkeys(NUMBERS), "source": "human"}
    assert out["steps"] == [*WHOLE["steps"][:AT], mine, *WHOLE["steps"][AT + 1 :]]
    assert mine["log_prob_base"] == pytest.approx(math.log(0.8)) and mine["accepted"] is False
    for key in ("response", "answer", "stop_reason", "acceptance_rate"):
        assert out[key] == WHOLE[key]
    assert len(decided(out["steps"])) == len(decided(WHOLE["steps"])) - 1


def test_the_state_is_that_of_a_run_whose_fallback_wrote_it() -> None:
    place, other = Place("root").begin(), Place("root").begin()
    place.write({"text": WHOLE["steps"][AT]["text"]})
    place.graph.invoke(None, thread(), interrupt_before=["draft"])
    place.graph.invoke(None, thread())
    other.graph.invoke(None, thread(), interrupt_before=["draft"])
    other.graph.invoke(None, thread())
    one, two = place.stop, other.stop
    assert one.next == two.next
    states = [{k: v for k, v in stop.values.items() if k not in ("usage", "steps", "messages")} for stop in (one, two)]
    names = {state["gsi_run"].pop("message_id") for state in states}  # of its message, drawn anew for every run
    assert states[0] == states[1] and len(names) == 2
    assert one.values["steps"][AT + 1 :] == two.values["steps"][AT + 1 :]


@EVERYWHERE
def test_a_step_of_ones_own(mounted: Any) -> None:
    place = Place(mounted).begin()
    place.write({"text": "good mine"})
    steps = place.end()["steps"]
    assert (steps[AT]["text"], steps[AT]["source"]) == ("good mine\n\n", "human")
    assert steps[AT]["log_prob_base"] == -math.inf  # the base's table does not have it
    assert steps[AT + 1 :] == given(steps[: AT + 1])


@EVERYWHERE
async def test_the_refused_draft_passes(mounted: Any) -> None:
    for edit in ({"source": "draft"}, WHOLE["steps"][AT]["rejected"]):
        place = Place(mounted).begin()
        place.write(edit)
        out = await place.graph.ainvoke(None, thread())
        while place.stop.next:
            out = await place.graph.ainvoke(None, thread())
        steps = out["steps"]
        assert steps[AT] == {**WHOLE["steps"][AT]["rejected"], "accepted_by": "human"}
        assert (steps[AT]["source"], steps[AT]["accepted"]) == ("draft", False)
        assert steps[AT + 1 :] == given(steps[: AT + 1])
        assert steps[AT] not in decided(steps)
        assert acceptance_rate(steps) == sum(step["accepted"] for step in steps) / len(steps)


@HONOURED
def test_an_edit_of_the_past_is_honoured(mounted: Any) -> None:
    place = Place(mounted).begin()
    for node in ("draft", "tilt_and_accept"):
        steps = place.end(place.write({"text": "good mine"}, place.past(node, 1)))["steps"]
        assert steps[:1] == WHOLE["steps"][:1] and steps[1]["text"] == "good mine\n\n"
        assert (steps[1]["source"], steps[1]["accepted"], steps[1].get("rejected")) == ("human", None, None)
        assert steps[2:] == given(steps[:2])
        place = Place(mounted).begin()


async def test_mounted_with_none_an_edit_of_the_past_is_refused() -> None:
    place = Place(None).begin()
    past = place.past("draft", 1)
    assert place.end(past)["steps"] == WHOLE["steps"]  # a plain rewind runs the node again
    place = Place(None).begin()
    edited = place.write({"text": "good mine"}, place.past("draft", 1))
    with pytest.raises(ResumeMismatch, match="an edit at a past checkpoint inside .* would be lost"):
        place.graph.invoke(None, edited)
    with pytest.raises(ResumeMismatch, match="an edit at a past checkpoint inside .* would be lost"):
        await place.graph.ainvoke(None, edited)


@HONOURED
@pytest.mark.parametrize("fork", [{"seed": 9}, {"threshold": -9.0}, {"beta": 1.0, "n": 2}])
def test_a_fork_goes_on_under_its_settings_and_is_recorded(mounted: Any, fork: Any) -> None:
    place = Place(mounted).begin()
    past = place.past("draft", 1)
    if place.root:
        with pytest.raises(ResumeMismatch, match="overrides"):
            place.graph.invoke(None, past, context=fork)
    steps = place.end(past, fork=True, **fork)["steps"]
    assert steps[:1] == WHOLE["steps"][:1] and steps[1]["fork"] == fork
    want = given(steps[:1], fork)
    assert steps[1:] == [{**want[0], "fork": fork}, *want[1:]]
    assert not any("fork" in step for step in steps[2:])


@pytest.mark.parametrize("node", ["reward", "tilt_and_accept"])
def test_a_fork_within_a_step_judges_the_same_candidates(node: str) -> None:
    place = Place("root", record="candidates")
    out = place.begin().end()
    forked = place.end(place.past(node, AT), fork=True, threshold=-9.0)["steps"]
    assert forked[AT]["accepted"] and forked[AT]["fork"] == {"threshold": -9.0}
    assert forked[AT]["candidates"] == out["steps"][AT]["rejected"]["candidates"]


@pytest.mark.parametrize("at", [1, 2])
def test_a_fork_survives_a_crash(at: int) -> None:
    parts = models()
    place = Place("root", parts)
    place.begin()
    past = place.past("draft", 1)
    parts["base"].score, whole = crash_once(parts["base"].score, at), parts["base"].score
    with pytest.raises(Crash):
        place.graph.invoke(None, past, context={"fork": True, "seed": 9})
    parts["base"].score = whole
    steps = place.end()["steps"]
    assert steps[1]["fork"] == {"seed": 9} and steps[2:] == given(steps[:1], {"seed": 9})[1:]


def test_mounted_with_none_the_whole_node_can_fork_and_nothing_inside() -> None:
    place = Place(None).begin()
    with pytest.raises(ResumeMismatch, match="a fork at a past checkpoint inside"):
        place.graph.invoke(None, place.past("draft", 1), context={"gsi": {"fork": True, "seed": 9}})
    (before,) = [state for state in place.graph.get_state_history(thread()) if state.next == ("solve",)][-1:]
    steps = place.end(before.config, fork=True, seed=9)["steps"]
    want = compiled().invoke(PROBLEM, context={"seed": 9})["steps"]
    assert steps == [{**want[0], "fork": {"seed": 9}}, *want[1:]]


def test_a_fork_keeps_the_overrides_that_it_does_not_name() -> None:
    place = Place("root")
    place.graph.invoke(PROBLEM, thread(), context={"n": 2})
    steps = place.end(place.past("draft", 0), fork=True, seed=9)["steps"]
    want = compiled().invoke(PROBLEM, context={"n": 2, "seed": 9})["steps"]
    assert steps == [{**want[0], "fork": {"seed": 9}}, *want[1:]]


def test_a_fork_that_changes_nothing_is_none() -> None:
    place = Place("root").begin()
    assert place.end(place.past("draft", 1), fork=True)["steps"] == WHOLE["steps"]


def test_a_fork_where_nothing_is_left_to_decide_is_refused() -> None:
    place = Place("root", stop=["finish"]).begin()
    with pytest.raises(ResumeMismatch, match="no step is left"):
        place.graph.invoke(None, thread(), context={"fork": True, "seed": 9})
