"""What a person writes and cannot be meant is refused by name; and what a step by hand counts for."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Overwrite

from gsi_node import compile_gsi
from gsi_node.errors import ConfigError
from tests.graph.test_by_hand import AT, WHOLE, Place
from tests.graph.world import config, models, thread

EDITS: list[tuple[Any, str]] = [
    ({"text": " "}, "want a dict with a non-empty 'text'"),
    ({}, "want a dict with a non-empty 'text'"),
    ({"text": "mine\n\n", "token_ids": [109]}, "its token_ids say 'm'"),
    ({**WHOLE["steps"][0], "source": None, "text": "mine\n\n"}, "its source is None"),
    ({"text": "mine", "source": "base"}, "its source is 'base'"),
    ({"text": "mine", "source": "draft"}, "its text is 'mine', that of the refused draft"),
]


@pytest.mark.parametrize(("edit", "named"), EDITS)
def test_an_edit_that_cannot_be_meant_is_refused(edit: Any, named: str) -> None:
    place = Place("root").begin()
    place.write(edit)
    with pytest.raises(ConfigError, match=named):
        place.graph.invoke(None, thread())


@pytest.mark.parametrize("steps", ["good mine", ["good mine"], {"text": "good mine"}, [[]], 7])
def test_what_is_no_list_of_steps_is_refused_at_once(steps: Any) -> None:
    place = Place("root").begin()
    with pytest.raises(ConfigError, match="steps: want a list of one step"):
        place.graph.update_state(thread(), {"steps": steps}, as_node="by_hand")
    assert place.end()["steps"] == WHOLE["steps"]


@pytest.mark.parametrize("node", ["by_hand", "draft"])
@pytest.mark.parametrize(
    "edit",
    [
        [{"text": "one"}, {"text": "two"}],
        WHOLE["steps"][:AT],
        Overwrite([]),
        Overwrite([{**WHOLE["steps"][0], "text": "other"}, *WHOLE["steps"][1:AT]]),
    ],
    ids=["two at once", "all again", "none", "changed in place"],
)
def test_other_edits_of_the_steps_are_refused(edit: Any, node: str) -> None:
    place = Place("root").begin()
    place.graph.update_state(thread(), {"steps": edit}, as_node=node)
    with pytest.raises(ConfigError, match="steps: edited by hand"):
        place.graph.invoke(None, thread())


def test_nothing_is_written_behind_the_end() -> None:
    for stop in (["finish"], []):
        place = Place("root", stop=stop).begin()
        place.write({"text": "good mine"}, thread())
        with pytest.raises(ConfigError, match=r"behind the end of the response \(eos\)"):
            place.graph.invoke(None, thread())


def test_a_draft_can_pass_only_where_one_was_refused() -> None:
    place = Place("root").begin()
    edited = place.write({"source": "draft"}, place.past("draft", 1))
    with pytest.raises(ConfigError, match="no draft was refused here"):
        place.graph.invoke(None, edited)


def test_a_method_without_a_base_has_no_log_probability_of_it() -> None:
    place = Place("root", stop=["reward"], method="sbon-draft").begin()
    place.write({"text": r"so \boxed{9}"})
    out = place.end()
    assert (out["answer"], out["stop_reason"], set(out["usage"])) == ("9", "answer", {"draft", "reward"})
    assert out["steps"][0]["log_prob_base"] is None and out["acceptance_rate"] is None


def test_steps_by_hand_count_against_max_steps() -> None:
    place = Place("root", max_steps=AT + 1).begin()
    place.write({"text": "good mine"})
    out = place.end()
    assert (out["stop_reason"], len(out["steps"])) == ("max_steps", AT + 1)


def test_stops_are_named_nodes_of_the_method() -> None:
    for wrong in (["fallback"], "fallback", 7, ["draft", "fallbak"]):
        with pytest.raises(ConfigError, match="interrupt_before: want .* nodes of method draft, begin, draft,"):
            compile_gsi(**models(), config=config(method="draft"), interrupt_before=wrong)  # type: ignore[arg-type]
    assert compile_gsi(**models(), interrupt_before="*").interrupt_before_nodes == "*"


def test_a_checkpoint_of_before_goes_on_as_it_did() -> None:
    place = Place("root").begin()
    place.graph.update_state(thread(), {"gsi_digest": None}, as_node="tilt_and_accept")
    assert place.end()["steps"] == WHOLE["steps"]
