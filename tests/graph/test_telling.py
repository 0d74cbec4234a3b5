"""What `messages` streams, callbacks and traces hear of the node: each step once, and what the response cost, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler, get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.constants import TAG_HIDDEN
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from gsi_node.graph.telling import summed_usage
from tests.graph import thinkers
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, thread

ASKED = {"problem": "p"}


def texts(result: dict[str, Any]) -> list[str]:
    return [step["text"] for step in result["steps"]]


async def heard(graph: Any, given: Any, config: Any = None, **how: Any) -> list[list[Any]]:
    """The messages of a stream, and of an async one."""
    parts = list(graph.stream(given, config, stream_mode="messages", **how))
    later = [part async for part in graph.astream(given, config, stream_mode="messages", **how)]
    return [[part[-1][0] if how.get("subgraphs") else part[0] for part in each] for each in (parts, later)]


async def test_a_stream_of_messages_has_one_chunk_a_step_under_the_id_of_the_message() -> None:
    want = texts(compiled().invoke(ASKED))
    for chunks in await heard(compiled(), ASKED):
        assert [type(chunk) for chunk in chunks] == [AIMessageChunk] * 6
        assert [chunk.content for chunk in chunks] == want
        assert len({chunk.id for chunk in chunks}) == 1 and {chunk.name for chunk in chunks} == {"gsi"}
    parts = list(compiled().stream(ASKED, stream_mode=["messages", "values"]))
    said = parts[-1][1]["messages"][-1]
    assert {part[0].id for mode, part in parts if mode == "messages"} == {said.id}
    assert said.content == "".join(want)


async def test_a_step_that_closes_thinking_is_heard_too(root: Path) -> None:
    result, given, _ = thinkers.forced(root)
    fields = {**thinkers.config().model_dump(), "seed": thinkers.seed_of(root), "max_thinking_tokens": 12}
    graph = compiled(parts=thinkers.parts(root), **fields)
    for chunks in await heard(graph, thinkers.PROBLEM):
        assert [chunk.content for chunk in chunks] == texts(result)
        assert given["text"] in [chunk.content for chunk in chunks]


class Desk(TypedDict, total=False):
    problem: str
    messages: Annotated[list[Any], add_messages]
    answer: str | None


def mounted(node: Any, saver: Any = None) -> Any:
    graph: StateGraph[Any] = StateGraph(Desk)
    graph.add_node("solve", node)
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return graph.compile(checkpointer=saver)


async def test_a_parent_hears_the_response_once_and_its_steps_where_it_asks_for_subgraphs() -> None:
    want = texts(compiled().invoke(ASKED))
    for whole in await heard(mounted(compiled()), ASKED):
        assert [(type(message), message.content) for message in whole] == [(AIMessage, "".join(want))]
    for chunks in await heard(mounted(compiled()), ASKED, subgraphs=True):
        assert [chunk.content for chunk in chunks] == want


async def test_callbacks_count_the_tokens_of_a_response_once() -> None:
    graph, counter = compiled(), UsageMetadataCallbackHandler()
    result = graph.invoke(ASKED, {"callbacks": [counter]})
    bills = result["usage"].values()
    want = {
        "input_tokens": sum(bill["scored_tokens"] for bill in bills),
        "output_tokens": sum(bill["generated_tokens"] for bill in bills),
    }
    want["total_tokens"] = sum(want.values())
    said = result["messages"][-1]
    assert want["input_tokens"] > want["output_tokens"] > 0
    assert said.usage_metadata == want == summed_usage(result["usage"])
    assert said.response_metadata["model_name"] == "gsi" and counter.usage_metadata == {"gsi": want}
    await graph.ainvoke(ASKED, {"callbacks": [counter]})
    assert counter.usage_metadata["gsi"]["total_tokens"] == 2 * want["total_tokens"]
    with get_usage_metadata_callback() as found:
        list(graph.stream(ASKED, stream_mode="messages"))
        mounted(graph).invoke(ASKED)
    assert found.usage_metadata["gsi"]["total_tokens"] == 2 * want["total_tokens"]


class Listener(BaseTracer):
    """Every run of a trace, in the order of their ends."""

    run_inline = True

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        pass

    def _on_llm_end(self, run: Any) -> None:
        self.ended.append(run.outputs["generations"][0][0]["message"]["kwargs"])


async def test_a_trace_has_each_step_and_last_the_response_with_its_cost() -> None:
    for how in ("invoke", "ainvoke"):
        listener = Listener()
        found = getattr(compiled(), how)(ASKED, {"callbacks": [listener]})
        result = found if how == "invoke" else await found
        *steps, last = listener.ended
        assert [step["content"] for step in steps] == texts(result)
        assert not any(step.get("usage_metadata") for step in steps)
        assert last["content"] == result["response"]
        assert last["usage_metadata"] == result["messages"][-1].usage_metadata


def test_what_is_heard_after_a_crash_is_the_rest_under_the_same_id_and_the_whole_cost(tmp_path: Path) -> None:
    want = compiled().invoke(ASKED)
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        graph = compiled(checkpointer=saver, parts=crashing("base", "score", 3))
        before: list[Any] = []
        with pytest.raises(Crash), get_usage_metadata_callback() as found:
            before += (chunk for chunk, _ in graph.stream(ASKED, thread(), stream_mode="messages"))
        assert found.usage_metadata == {}
        with get_usage_metadata_callback() as found:
            after = [chunk for chunk, _ in graph.stream(None, thread(), stream_mode="messages")]
        said = graph.get_state(thread()).values["messages"][-1]
    assert [chunk.content for chunk in [*before, *after]] == texts(want) and before and after
    assert {chunk.id for chunk in [*before, *after]} == {said.id}
    assert found.usage_metadata == {"gsi": want["messages"][-1].usage_metadata}


def test_two_answers_of_one_thread_are_two_messages() -> None:
    graph = compiled(checkpointer=InMemorySaver())
    first = graph.invoke(ASKED, thread())
    second = graph.invoke(ASKED, thread())
    assert [m.content for m in second["messages"]] == [first["response"]] * 2
    assert len({m.id for m in second["messages"]}) == 2


def test_a_hidden_run_is_heard_by_nobody() -> None:
    with get_usage_metadata_callback() as found:
        result = compiled().invoke(ASKED, {"tags": [TAG_HIDDEN]})
    assert result["answer"] == "7" and found.usage_metadata == {}


@pytest.fixture
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


async def test_a_cache_of_langchain_for_models_answers_no_step(cache: None) -> None:
    want = texts(compiled().invoke(ASKED))
    for chunks in await heard(compiled(), ASKED):
        assert [chunk.content for chunk in chunks] == want


def test_a_batch_is_counted_whole() -> None:
    with get_usage_metadata_callback() as found:
        results = compiled().batch([{"problem": f"p{i}"} for i in range(4)], {"max_concurrency": 4})
    total = sum(result["messages"][-1].usage_metadata["total_tokens"] for result in results)
    assert found.usage_metadata["gsi"]["total_tokens"] == total > 0
