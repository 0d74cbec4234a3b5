"""GSIChatModel: the node's own runs, told as LangChain's chat models tell them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from gsi_node import GSIChatModel
from gsi_node.errors import ConfigError
from gsi_node.graph.reply import Reply
from tests.graph.talk import CHAT, talking
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, thread


def model(**fields: Any) -> GSIChatModel:
    return GSIChatModel(node=compiled(**fields))


def numbers(message: Any) -> dict[str, Any]:
    """What response_metadata["gsi"] has, without seconds."""
    found = dict(message.response_metadata["gsi"])
    found["usage"] = unhurried(found["usage"])
    return found


def unhurried(usage: dict[str, Any]) -> dict[str, Any]:
    return {role: {name: value for name, value in bill.items() if name != "seconds"} for role, bill in usage.items()}


async def streams(of: BaseChatModel, asked: Any, **how: Any) -> list[list[AIMessageChunk]]:
    return [list(of.stream(asked, **how)), [chunk async for chunk in of.astream(asked, **how)]]


async def test_one_chunk_a_step_and_an_empty_last_one_with_the_numbers() -> None:
    node = compiled(length=7)
    want = node.invoke({"problem": "p"})
    for *steps, last in await streams(GSIChatModel(node=node), "p"):
        assert [chunk.content for chunk in steps] == [step["text"] for step in want["steps"]]
        assert not any(chunk.usage_metadata or chunk.response_metadata for chunk in steps)
        assert (last.content, last.chunk_position) == ("", "last")
        assert last.usage_metadata == want["messages"][-1].usage_metadata
        assert last.response_metadata["model_name"] == "gsi"
        assert numbers(last) == {
            **{name: want[name] for name in ("answer", "acceptance_rate", "stop_reason", "degraded")},
            "problem_id": want["messages"][-1].response_metadata["problem_id"],
            "usage": unhurried(want["usage"]),
        }


async def test_it_answers_what_the_node_answers() -> None:
    for problem in ("p", "q", "r"):
        want = compiled().invoke({"problem": problem})
        for message in (model().invoke(problem), await model().ainvoke([HumanMessage(problem)])):
            assert (message.content, message.response_metadata["gsi"]["answer"]) == (want["response"], want["answer"])
    asked = [HumanMessage("p"), HumanMessage("q")]
    assert [m.content for m in model().batch(["p", "q"])] == [model().invoke([m]).content for m in asked]


async def test_a_conversation_reaches_the_models_and_its_messages_are_left_alone() -> None:
    want = talking().invoke({"messages": CHAT})
    chat = [message.model_copy(update={"id": None}) for message in CHAT]
    same = [chat[0], chat[1], chat[2], chat[3]]
    for told in (GSIChatModel(node=talking()).invoke(same), await GSIChatModel(node=talking()).ainvoke(same)):
        assert told.content == want["response"]
    assert [message.id for message in chat] == [None] * 4
    twice = HumanMessage("2 + 2?", id="one")
    told = GSIChatModel(node=talking()).invoke([twice, AIMessage("4"), twice])
    assert (
        told.content
        == talking().invoke({"messages": [("user", "2 + 2?"), ("ai", "4"), ("user", "2 + 2?")]})["response"]
    )


def cut_before(text: str, stop: list[str]) -> str | None:
    """The text before that of the strings which is complete first; None where none occurs."""
    ends = [(end, end - len(one)) for end in range(len(text) + 1) for one in stop if text[:end].endswith(one)]
    return text[: min(ends)[1]] if ends else None


def told_of(texts: list[str], stop: list[str]) -> tuple[list[str], str]:
    """The chunks of a run of these steps, and why it ended."""
    reply = Reply("gsi", "p", stop)
    found: list[str] = []
    for i in range(len(texts)):
        steps = [{"text": text, "source": "draft", "accepted": True} for text in texts[: i + 1]]
        state: dict[str, Any] = {"steps": steps, "stop_reason": "eos" if i + 1 == len(texts) else None, "usage": {}}
        found += (str(chunk.message.content) for chunk in reply.chunks(state))
        if reply.stopped:
            break
    return found, reply.last().message.response_metadata["gsi"]["stop_reason"]


@pytest.mark.parametrize("cuts", list(itertools.product([False, True], repeat=6)))
def test_a_response_ends_before_the_stop_string_that_is_complete_first(cuts: tuple[bool, ...]) -> None:
    """Every way to cut a text into steps; every string in it, and pairs of them."""
    text = "abacaba"
    texts = re.findall(r"[^|]+", "".join(c + "|" * cut for c, cut in zip(text, (*cuts, False), strict=True)))
    strings = sorted({text[i:j] for i in range(7) for j in range(i + 1, 8)})
    for stop in [*([one] for one in strings), *map(list, itertools.combinations(strings, 2)), ["z"], ["abad"], []]:
        want = cut_before(text, stop)
        chunks, reason = told_of(texts, stop)
        assert ("".join(chunks), reason) == ((text, "eos") if want is None else (want, "stop")), stop
        first = min((text.find(one) + len(one) for one in stop if one in text), default=len(text))
        assert len(chunks) == next(i for i in range(1, 8) if len("".join(texts[:i])) >= first), stop


async def test_a_stopped_run_is_told_as_far_as_it_went() -> None:
    whole = compiled().invoke({"problem": "p"})
    first, second = (step["text"] for step in whole["steps"][:2])
    short = compiled(max_steps=2).invoke({"problem": "p"})
    word = second.strip()[-1]
    assert word not in first
    for *steps, last in await streams(model(), "p", stop=[word]):
        assert [chunk.content for chunk in steps] == [first, second[: second.index(word)]]
        assert numbers(last)["usage"] == unhurried(short["usage"])
        assert numbers(last)["acceptance_rate"] == short["acceptance_rate"]
        assert numbers(last)["answer"] is None
    boxed = model().invoke("p", stop=["}"])
    assert str(boxed.content).endswith("\\boxed{7") and boxed.response_metadata["gsi"]["answer"] is None
    own = GSIChatModel(node=compiled(), stop=[word])
    assert own.invoke("p").content == first + second[: second.index(word)]
    assert own.invoke("p", stop=["zz"]).content == whole["response"] == own.invoke("p", stop=[]).content


async def test_settings_of_a_call_are_those_of_the_context() -> None:
    want = compiled().invoke({"problem": "p"}, context={"seed": 5, "max_tokens": 30})
    for told in (
        model().invoke("p", seed=5, max_tokens=30),
        await model().bind(seed=5, max_tokens=30).ainvoke("p"),
        GSIChatModel(node=compiled(), max_tokens=30).invoke("p", seed=5),
        GSIChatModel(node=compiled(), max_tokens=9).invoke("p", seed=5, max_tokens=30),
        model().invoke("p", seed=5, max_tokens=30, stream=True),
    ):
        assert told.content == want["response"]
        assert told.response_metadata["gsi"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("problem", ["tools", "structured", "unknown", "stop", "empty stop", "last", "temperature"])
def test_what_it_cannot_do_is_refused_by_name(problem: str) -> None:
    told: Any = model()
    kind: Any = GSIChatModel
    schema = {"title": "x", "type": "object", "properties": {}, "description": "x"}
    calls: dict[str, tuple[Any, str]] = {
        "tools": (lambda: told.bind_tools([schema]), "calls no tools.*gsi_tool"),
        "structured": (lambda: told.with_structured_output(schema), "no structured output"),
        "unknown": (lambda: told.invoke("p", top_k=3), "GSIChatModel: 'top_k'"),
        "stop": (lambda: told.invoke("p", stop="x"), "stop: want a list of non-empty strings, got 'x'"),
        "empty stop": (lambda: told.invoke("p", stop=[""]), "stop: want a list of non-empty strings"),
        "last": (lambda: told.invoke([HumanMessage("p"), ToolMessage("7", tool_call_id="1")]), r"messages\[1\]: ToolM"),
        "temperature": (lambda: kind(node=compiled(), temperature=0.0), "temperature"),
    }
    call, words = calls[problem]
    with pytest.raises(ValueError if problem == "temperature" else ConfigError, match=words):
        call()


def within(told: GSIChatModel, saver: Any = None) -> Any:
    """A graph whose one node asks the model."""
    graph: StateGraph[Any] = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [told.invoke(state["messages"])]})
    graph.add_edge(START, "agent")
    graph.add_edge("agent", END)
    return graph.compile(checkpointer=saver)


def test_inside_a_graph_it_is_heard_once_and_counted_once() -> None:
    want = compiled().invoke({"problem": "p"})
    asked = {"messages": [HumanMessage("p")]}
    for subgraphs in (False, True):
        with get_usage_metadata_callback() as found:
            parts = list(within(model()).stream(asked, stream_mode="messages", subgraphs=subgraphs))
        chunks = [part[-1][0] if subgraphs else part[0] for part in parts]
        assert {type(chunk) for chunk in chunks} == {AIMessageChunk}
        assert [chunk.content for chunk in chunks] == [*(step["text"] for step in want["steps"]), ""]
        assert found.usage_metadata == {"gsi": want["messages"][-1].usage_metadata}


def test_it_begins_anew_after_a_crash_and_leaves_nothing_on_the_thread() -> None:
    graph = within(GSIChatModel(node=compiled(parts=crashing("base", "score", 3))), InMemorySaver())
    with pytest.raises(Crash):
        graph.invoke({"messages": [HumanMessage("p")]}, thread())
    found = graph.invoke(None, thread())
    assert found["messages"][-1].content == compiled().invoke({"problem": "p"})["response"]
    spaces = {state.config["configurable"]["checkpoint_ns"] for state in graph.checkpointer.list(None)}
    assert spaces == {""}


def test_a_stream_that_is_left_ends_the_run() -> None:
    node = compiled(length=20)
    stream: Any = GSIChatModel(node=node).stream("p")
    calls: list[int] = []
    part = node.builder.nodes["draft"].runnable.body.__self__.models.draft
    sample = part.sample

    def counted(*args: Any) -> Any:
        calls.append(1)
        return sample(*args)

    part.sample = counted
    next(stream)
    stream.close()
    assert len(calls) <= 2


class Began(BaseCallbackHandler):
    """What is told where a model is first asked."""

    def on_chat_model_start(self, *told: Any, metadata: dict[str, Any] | None = None, **more: Any) -> None:
        self.metadata = metadata or {}


def test_a_trace_is_told_what_model_it_is_and_how_it_was_asked() -> None:
    began = Began()
    GSIChatModel(node=compiled(temperature=0.5), max_tokens=30, stop=["zz"]).invoke("p", {"callbacks": [began]})
    wanted = {"provider": "gsi", "model_name": "gsi", "model_type": "chat", "temperature": 0.5, "max_tokens": 30}
    assert {f"ls_{name}": value for name, value in wanted.items()}.items() <= began.metadata.items()
    assert began.metadata["ls_stop"] == ["zz"]
    model().invoke("p", {"callbacks": [began]})
    assert began.metadata["ls_max_tokens"] == compiled().builder.config.max_tokens


@pytest.fixture
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


def test_a_cache_of_langchain_tells_models_and_settings_apart(cache: None) -> None:
    told = model()
    first = told.invoke("p")
    assert told.invoke("p").usage_metadata is not None and told.invoke("p").content == first.content
    for other in (model(seed=4), GSIChatModel(node=compiled(), max_tokens=9), model(length=2)):
        assert other.invoke("p").content != first.content
    assert GSIChatModel(node=compiled(), stop=["0"]).invoke("p").content != first.content
    assert told.invoke("p", seed=4).content == model(seed=4).invoke("p").content
