"""What of a conversation is refused by name, and what its runs are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import Models, Turn, asolve, compile_gsi, load_model, solve
from gsi_node.errors import ConfigError
from gsi_node.types import default_id
from tests.graph.talk import CHAT, EARLIER, QUESTION, parts, solver, talking
from tests.graph.world import config, thread

CALL = {"name": "f", "args": {}, "id": "1"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
Q = HumanMessage("q")

# --- its name -------------------------------------------------------------------------------------------------------


def test_the_default_id_is_that_of_the_conversation_and_of_a_lone_question_that_of_its_text() -> None:
    def id_of(messages: list[Any], **fields: Any) -> str:
        name: str = (
            talking(max_steps=1, **fields)
            .invoke({"messages": messages})["messages"][-1]
            .response_metadata["problem_id"]
        )
        return name

    assert id_of(CHAT) == default_id(QUESTION, EARLIER)
    assert id_of([HumanMessage("2 + 2?")]) == default_id("2 + 2?") == "d02f91fd275669ee55c8d944f5b53095"
    assert id_of(CHAT, earlier_messages="ignore") == default_id(QUESTION)
    told = json.dumps([*EARLIER, ("user", QUESTION)])
    names = [
        default_id(QUESTION, EARLIER),
        default_id(QUESTION, EARLIER[1:]),
        default_id(QUESTION, (*EARLIER[:2], Turn("user", EARLIER[2].content))),
        default_id(QUESTION),
        default_id(told),
        default_id("".join(turn.content for turn in EARLIER) + QUESTION),
    ]
    assert len(set(names)) == len(names)


# --- what is refused ------------------------------------------------------------------------------------------------

UNCARRIED: list[tuple[list[Any], str]] = [
    ([ToolMessage("4", tool_call_id="1"), Q], r"messages\[0\]: ToolMessage;.* set earlier_messages"),
    ([FunctionMessage(content="4", name="f"), Q], r"messages\[0\]: FunctionMessage;.*'ignore'"),
    (
        [ChatMessage(content="hi", role="critic"), Q],
        r"messages\[0\]: a ChatMessage of role 'critic';.*'ignore'",
    ),
    ([AIMessage("", tool_calls=[CALL]), Q], r"messages\[0\]: AIMessage with tool calls;.*'ignore'"),
    ([AIMessage("", additional_kwargs={"function_call": {}, "tool_calls": [1]}), Q], "with tool calls"),
    (
        [HumanMessage(["see", IMAGE]), AIMessage("4"), Q],
        r"\[0\]: a content block 'image_url'.*'ignore'",
    ),
    ([HumanMessage("p"), AIMessage([{"type": "reasoning"}]), Q], r"\[1\]: a content block 'reasoning'"),
    ([HumanMessage("p"), AIMessage([{"type": "text"}]), Q], r"\[1\]: a content block 'text'"),
    ([SystemMessage("half \ud83d"), Q], r"messages\[0\]: half of a surrogate pair"),
    ([Q, AIMessage("4")], r"messages\[1\]: AIMessage after the last human message.*initial_steps"),
    ([Q, ToolMessage("4", tool_call_id="1")], r"messages\[1\]: ToolMessage after the last human"),
]


@pytest.mark.parametrize(("messages", "named"), UNCARRIED)
@pytest.mark.parametrize("make", [talking, solver])
async def test_what_cannot_be_carried_is_refused_by_name_and_ignored_where_that_is_asked(
    messages: list[Any], named: str, make: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match=named):
        make().invoke({"messages": messages})
    with pytest.raises(ConfigError, match=named):
        await make().ainvoke({"messages": messages})
    assert make(earlier_messages="ignore").invoke({"messages": messages})["answer"] == "u1"


@pytest.mark.parametrize("policy", ["carry", "ignore", "refuse"])
@pytest.mark.parametrize("block", [IMAGE, {"type": "image", "url": "x"}, {"type": "text", "text": 3}, {"text": "x"}])
def test_a_block_that_is_no_text_in_the_last_human_message_is_always_refused(policy: str, block: Any) -> None:
    with pytest.raises(ConfigError, match=r"messages\[0\]: a content block .* say in words"):
        talking(earlier_messages=policy).invoke({"messages": [HumanMessage(["what is this?", block])]})


def test_refuse_refuses_every_other_message() -> None:
    graph = talking(earlier_messages="refuse")
    assert graph.invoke({"messages": [Q]})["answer"] == "u1"
    for before in ([SystemMessage("be brief")], [ToolMessage("4", tool_call_id="1")], CHAT):
        with pytest.raises(ConfigError, match=f"{len(before)} stand before the last human message, and .*'carry'"):
            graph.invoke({"messages": [*before, Q]})
    with pytest.raises(ConfigError, match="AIMessage after the last human message"):
        graph.invoke({"messages": [Q, AIMessage("4")]})
    with pytest.raises(ConfigError, match="earlier: 3 turns stand before the problem"):
        solve("q", Models(**parts()), config(earlier_messages="refuse"), earlier=EARLIER)


def test_text_blocks_are_joined_and_an_empty_turn_is_a_turn() -> None:
    chat = [
        SystemMessage([{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]),
        HumanMessage(["2 + ", "2?"]),
        AIMessage(""),
        HumanMessage(["and ", {"type": "text", "text": "times 3?"}]),
    ]
    assert talking().invoke({"messages": chat})["answer"] == "s8 u6 a0 u12"
    assert solver().invoke({"messages": chat})["answer"] == "s8 u6 a0 u12"


@pytest.mark.parametrize(
    ("turn", "named"),
    [
        (("human", "x"), r"earlier\[0\]: want a role \(system, user, assistant\) and a text, got \('human', 'x'\)"),
        (("user", 3), r"earlier\[0\]: want a role"),
        (("user", "half \ud83d"), r"earlier\[0\]: half of a surrogate pair"),
        ({"role": "user", "content": "x"}, r"earlier\[0\]: want Turn\(role, content\), got {'role': 'user'"),
        (HumanMessage("x"), r"earlier\[0\]: want Turn\(role, content\), got HumanMessage"),
        (("user",), r"earlier\[0\]: want Turn\(role, content\)"),
        ("hi", r"earlier\[0\]: want Turn\(role, content\), got 'hi'"),
    ],
)
def test_turns_given_to_solve_are_read_as_strictly(turn: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        solve("q", Models(**parts()), config(), earlier=[turn])
    assert solve("q", Models(**parts()), config(earlier_messages="ignore"), earlier=[turn]).answer == "u1"


@pytest.mark.parametrize("policy", ["carry", "ignore", "refuse"])
@pytest.mark.parametrize("earlier", [None, 3, "2 + 2?", {"role": "user"}])
async def test_what_is_no_list_of_turns_is_refused(policy: str, earlier: Any) -> None:
    asked = config(earlier_messages=policy)
    with pytest.raises(ConfigError, match="earlier: want a list of turns, each Turn"):
        solve("q", Models(**parts()), asked, earlier=earlier)
    with pytest.raises(ConfigError, match="earlier: want a list of turns, each Turn"):
        await asolve("q", Models(**parts()), asked, earlier=earlier)


# --- the models that ship -------------------------------------------------------------------------------------------


def pocket(saver: Any, **fields: Any) -> Any:
    settings = config(method="base", n=1, max_step_tokens=16, max_steps=1, **fields)
    return compile_gsi(draft=None, base=load_model("pocket:base"), reward=None, config=settings, checkpointer=saver)


def test_the_pocket_models_know_one_question_at_a_time_and_say_so() -> None:
    graph = pocket(InMemorySaver())
    first = graph.invoke({"messages": [HumanMessage("What is 2 + 3?")]}, thread())
    with pytest.raises(ConfigError, match='know one question at a time .* earlier_messages="ignore"'):
        graph.invoke({"messages": [HumanMessage("What is 4 + 5?")]}, thread())
    with pytest.raises(ConfigError, match="know one question at a time and no system turn"):
        graph.invoke({"messages": [SystemMessage("be brief"), HumanMessage("What is 4 + 5?")]}, thread("other"))
    second = graph.invoke({"problem": "What is 4 + 5?"}, thread())
    assert second["steps"] == pocket(None).invoke({"problem": "What is 4 + 5?"})["steps"]
    alone = pocket(InMemorySaver(), earlier_messages="ignore")
    assert alone.invoke({"messages": [HumanMessage("What is 2 + 3?")]}, thread())["steps"] == first["steps"]
    assert alone.invoke({"messages": [HumanMessage("What is 4 + 5?")]}, thread())["steps"] == second["steps"]
