"""What the node and the solver read: what cannot be meant is refused by name, and nothing ends but in a typed error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import EmptyInputError, InvalidUpdateError

from gsi_node import MathSolver, load_model
from gsi_node.errors import ConfigError, GSIError
from gsi_node.graph.build import compile_gsi
from gsi_node.protocols import DecodingModel
from gsi_node.tables.models import EOS_ID
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.graph.test_specdec import graph as of_tokens
from tests.graph.world import compiled, config, models, thread

HUGE = 10**5000  # Python does not write it in decimals
HALF = "half a pair: \ud83d"
PROBLEM = {"problem": "p"}


def solver() -> Any:
    return MathSolver(**models(), config=config()).build().compile()


def pocket() -> Any:
    return compile_gsi(
        draft=load_model("pocket:draft"), base=None, reward=None, config=config(method="draft", max_step_tokens=16)
    )


BAD_INPUTS: list[tuple[dict[str, Any], str]] = [
    ({}, "problem: want"),
    ({"problem": "  "}, "problem: want a non-empty string, got '  '"),
    ({"problem": 3}, "problem: want a non-empty string, got 3"),
    ({"problem": HUGE}, "problem: .*a int that cannot be written"),
    ({"problem": ["p"] * 99}, r"problem: want a non-empty string, got .{77}\.\.\.(\n|$)"),
    ({"problem": HALF}, r"problem: half of a surrogate pair \('\\ud83d'\) at character 13"),
    ({"messages": [HumanMessage(HALF)]}, "problem: half of a surrogate pair"),
    ({"messages": [AIMessage("x")]}, "problem: want"),
    ({"messages": [HumanMessage([])]}, "problem: want a non-empty string, got ''"),
    ({"messages": [5]}, "messages: want messages, .*Unsupported message type"),
    ({"messages": 5}, "messages: want messages"),
    ({"messages": [("human", 5)]}, "messages: want messages"),
    ({"messages": [("martian", "p")]}, "messages: want messages, .*martian"),
    ({"messages": [("\x1b[31m", "p")]}, r"messages: want messages, .*\\x1b"),
    ({"messages": [{"role": "user"}]}, "messages: want messages, .*role"),
    ({"messages": None}, "messages: want messages"),
    ({**PROBLEM, "problem_id": 1.5}, "problem_id: want a text or an integer, got 1.5"),
    ({**PROBLEM, "problem_id": True}, "problem_id: want a text or an integer, got True"),
    ({**PROBLEM, "problem_id": ["p"]}, "problem_id: want a text or an integer"),
    ({**PROBLEM, "problem_id": HUGE}, "problem_id: Exceeds the limit"),
    ({**PROBLEM, "problem_id": HALF}, "problem_id: half of a surrogate pair"),
]


@pytest.mark.parametrize(("bad", "named"), BAD_INPUTS)
@pytest.mark.parametrize("make", [compiled, solver])
async def test_bad_inputs_are_named(bad: dict[str, Any], named: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=named):
        make().invoke(bad)
    with pytest.raises(ConfigError, match=named):
        await make().ainvoke(bad)


def test_the_solver_refuses_earlier_messages_too() -> None:
    graph = MathSolver(**models(), config=config(earlier_messages="refuse")).build().compile()
    with pytest.raises(ConfigError, match="1 stand before the last human message"):
        graph.invoke({"messages": [SystemMessage("be brief"), HumanMessage("p")]})


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3", [3]])
def test_a_number_of_samples_that_is_none(n: Any) -> None:
    with pytest.raises(ConfigError, match="n_samples: want an integer ≥ 1"):
        solver().invoke({**PROBLEM, "n_samples": n})


# --- initial steps --------------------------------------------------------------------------------------------------


def ids(text: str) -> list[int]:
    return [ord(c) for c in text]


BAD_STEPS: list[tuple[Any, str]] = [
    (5, "initial_steps: want a list of dicts"),
    ("text", "initial_steps: want a list of dicts"),
    ({"text": "a"}, "initial_steps: want a list of dicts"),
    ([7], r"initial_steps\[0\]: want a dict with a non-empty 'text', got 7"),
    ([{"txt": "a"}], r"initial_steps\[0\]"),
    ([{"text": "a"}, {"text": " "}], r"initial_steps\[1\]"),
    ([{"text": HALF}], r"initial_steps\[0\]: half of a surrogate pair"),
    ([{"text": "a", "token_ids": 5}], "want token_ids as a list of integers, got 5"),
    ([{"text": "a", "token_ids": "5"}], "want token_ids as a list of integers, got '5'"),
    ([{"text": "a", "token_ids": []}], "want token_ids as a list of integers"),
    ([{"text": "a", "token_ids": {"a": 1}}], "want token_ids as a list of integers"),
    ([{"text": "a", "token_ids": [97.5]}], "no token id is 97.5"),
    ([{"text": "a", "token_ids": [True]}], "no token id is True"),
    ([{"text": "a", "token_ids": [-1]}], "no token id is -1"),
    ([{"text": "a", "token_ids": [HUGE]}], "no token id is a int that cannot be written"),
    ([{"text": "a", "token_ids": [2**30]}], "token ids are code points"),
    ([{"text": "3 + 4 = 7\n\n", "token_ids": ids("3 + 4 = 8\n\n")}], r"say '3 \+ 4 = 8.*its text is '3 \+ 4 = 7"),
    ([{"text": "a\n\n", "token_ids": ids("a")}], "token_ids say 'a'"),
    ([{"text": "ab", "token_ids": [97, EOS_ID, 98]}], r"\[0\]: token id 1114112 ends the response"),
    ([{"text": "a", "token_ids": [97, EOS_ID]}, {"text": "b"}], r"\[1\]: the step before it ends the response"),
]


@pytest.mark.parametrize(("bad", "named"), BAD_STEPS)
def test_bad_initial_steps_are_named(bad: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        compiled().invoke({**PROBLEM, "initial_steps": bad})


@pytest.mark.parametrize("make", [compiled, lambda: of_tokens("specdec"), pocket])
def test_the_steps_of_an_earlier_run_go_in_as_they_came_out(make: Callable[[], Any]) -> None:
    graph = make()
    whole = graph.invoke({"problem": "What is 12 * (7 + 5)?"})
    for cut in range(len(whole["steps"])):
        given_ = [{key: step[key] for key in ("text", "token_ids")} for step in whole["steps"][:cut]]
        out = graph.invoke({"problem": "What is 12 * (7 + 5)?", "initial_steps": given_}, context={"max_steps": 1})
        assert [step["token_ids"] for step in out["steps"]] == [s["token_ids"] for s in whole["steps"][: cut + 1]]
    swapped = [{"text": whole["steps"][0]["text"] + "x", "token_ids": whole["steps"][0]["token_ids"]}]
    with pytest.raises(ConfigError, match=r"initial_steps\[0\]: its token_ids say"):
        graph.invoke({"problem": "p", "initial_steps": swapped})


def test_steps_that_end_the_response_or_the_budget_end_the_run() -> None:
    over = compiled().invoke(
        {**PROBLEM, "initial_steps": [{"text": "I give up", "token_ids": [*ids("I give up"), EOS_ID]}]}
    )
    assert (over["stop_reason"], over["answer"], len(over["steps"])) == ("eos", None, 1)
    spent = compiled(max_tokens=5).invoke({**PROBLEM, "initial_steps": [{"text": "abcdef"}]})
    assert (spent["stop_reason"], len(spent["steps"])) == ("max_tokens", 1)
    answered = compiled().invoke({**PROBLEM, "initial_steps": [{"text": r"\boxed{3}"}]})
    assert (answered["answer"], answered["stop_reason"], answered["acceptance_rate"]) == ("3", "answer", None)


class Own:
    """A user's own model, with what StepModel asks for and no step_of."""

    def __init__(self, inner: Any) -> None:
        for name in ("vocabulary", "fingerprint", "eos_ids", "supports", "encode", "sample", "score"):
            setattr(self, name, getattr(inner, name))


def test_a_model_without_step_of_takes_the_ids_it_encodes() -> None:
    parts = models()
    own = {**parts, "draft": Own(parts["draft"]), "base": Own(parts["base"])}
    assert not isinstance(own["draft"], DecodingModel)
    good = {**PROBLEM, "initial_steps": [{"text": "good 0\n\n", "token_ids": ids("good 0\n\n")}]}
    assert compiled(parts=own).invoke(good)["steps"] == compiled().invoke(good)["steps"]
    with pytest.raises(ConfigError, match="the model has no step_of to read token ids with"):
        compiled(parts=own).invoke(
            {**PROBLEM, "initial_steps": [{"text": "good 0\n\n", "token_ids": ids("bad 0\n\n")}]}
        )
    assert compiled(parts={**own, "base": parts["base"]}).invoke(good)["steps"]  # either of the two can read them
    (step,) = parts["draft"].sample(Prefix("p"), 1, Key(0, "p", 0, "draft"), SamplingLaw())
    assert parts["draft"].step_of(Prefix("p"), step.token_ids, step.log_prob) == step


# --- anything at all ------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=12) | st.sampled_from([HALF, r"\boxed{1}", "", "\n\n", "a\x00b", "\u2028"])
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.builds(lambda: HUGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
STEP = st.fixed_dictionaries(
    {"text": TEXT}, optional={"token_ids": st.lists(st.integers(-2, 2**33) | st.floats() | TEXT, max_size=4) | JSON}
)
MESSAGE = st.one_of(
    JSON,
    st.builds(HumanMessage, TEXT | st.lists(TEXT, max_size=2)),
    st.builds(AIMessage, TEXT),
    st.tuples(st.sampled_from(["human", "ai", "system", "robot", "\x1b[31m", "a\nb"]), JSON),
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "x"]), "content": JSON}),
)
INPUT = st.fixed_dictionaries(
    {},
    optional={
        "problem": TEXT | JSON,
        "problem_id": TEXT | JSON,
        "initial_steps": st.lists(STEP | JSON, max_size=3) | JSON,
        "messages": st.lists(MESSAGE, max_size=3) | JSON,
        "n_samples": st.integers(-1, 2) | st.sampled_from([None, "2", 1.0, True]),
        "steps": JSON,
        "usage": JSON,
        "gsi_run": JSON,
    },
)  # fmt: skip
NODE, SOLVER = compiled(1), MathSolver(**models(1), config=config()).build().compile()


@settings(max_examples=100, deadline=None)
@given(INPUT)
def test_any_input_runs_or_is_a_typed_error(state: dict[str, Any]) -> None:
    for graph in (NODE, SOLVER):
        try:
            assert graph.invoke(state)["stop_reason"] in ("eos", "answer", "max_tokens", "max_steps")
        except GSIError as error:
            assert str(error).isprintable() and len(str(error)) < 700
        except (InvalidUpdateError, EmptyInputError):  # LangGraph's own word for an input without a key that it knows
            assert not state.keys() & {"problem", "messages", "problem_id", "initial_steps"}


@settings(max_examples=40, deadline=None)
@given(INPUT)
def test_any_input_under_a_saver_too(state: dict[str, Any]) -> None:
    graph = compiled(1, checkpointer=InMemorySaver())
    try:
        assert graph.invoke(state, thread())["stop_reason"]
    except (GSIError, InvalidUpdateError, EmptyInputError):
        assert graph.invoke(PROBLEM, thread())["steps"] == NODE.invoke(PROBLEM)["steps"]  # the thread is not lost
