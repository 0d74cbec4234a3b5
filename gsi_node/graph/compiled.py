"""Graphs that no recursion limit cuts short: their own budgets bound them, however they are called."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from gsi_node.cancel import iterate_interruptible, run_interruptible
from gsi_node.errors import ConfigError, ResumeMismatch, shown
from gsi_node.graph.context import given_context
from gsi_node.graph.inputs import read_problem
from gsi_node.graph.state import add_given_messages
from gsi_node.step.problem import read_problem_id

SUPERSTEPS = 10**15  # more than any run has, and an integer that JSON and msgpack hold


class WholeRunGraph(StateGraph[Any, Any, Any, Any]):
    """A StateGraph whose compile() gives a CompiledWholeRun."""

    def compile(self, *args: Any, **kwargs: Any) -> CompiledWholeRun:
        compiled = super().compile(*args, **kwargs)
        whole = CompiledWholeRun.__new__(CompiledWholeRun)
        whole.__dict__.update(compiled.__dict__)
        return whole


class CompiledWholeRun(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled graph that does its whole work under any recursion limit, inherited or given.

    LangChain hands 25 supersteps to all that runs in a batch, a pipe or a tool, and a parent its own limit; where it
    ends, LangGraph raises in the middle of a response. The steps of such a graph are bounded by max_steps and the token
    budgets instead. Only its own: a parent's limit still counts the parent's supersteps. batch, invoke, pipes, tools,
    mounting and astream_events all come through stream and astream.

    Ctrl-C ends the models' work in all its threads, not only what the main thread does.

    A `context` of a graph compiled for GSIContext is read here: ConfigError for what is none. And a result inside of a
    parent's node is compared with what was asked for: LangGraph numbers the calls that one node makes in the order in
    which they come, and a resumed call takes up the run with its number, whatever its input. ResumeMismatch where that
    is the run of another problem_id.
    """

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        items = super().stream(input, _unlimited(config), **self._read(kwargs))
        chunks = iterate_interruptible(cast("Generator[Any, None, None]", items))
        asked = _asked(input, config)
        return chunks if asked is None else _compared(chunks, asked)

    def batch(self, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return run_interruptible(super().batch, inputs, *args, **kwargs)

    def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        chunks = super().astream(input, _unlimited(config), **self._read(kwargs))
        asked = _asked(input, config)
        return chunks if asked is None else _acompared(chunks, asked)

    def _read(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "context": given_context(kwargs.get("context"), self.context_schema)}


def _unlimited(config: RunnableConfig | None) -> RunnableConfig:
    """The caller's config with more supersteps than any run has; with_config could not say so, the caller's wins."""
    return {**(config or {}), "recursion_limit": SUPERSTEPS}


def _asked(input: object, config: RunnableConfig | None) -> str | None:
    """The problem_id that a call inside a node of a parent asks for; None of other calls, and of unreadable input."""
    if not isinstance(input, Mapping) or not ensure_config(config)["configurable"].get("checkpoint_ns"):
        return None
    try:
        state = {**input, "messages": add_given_messages([], input.get("messages") or [])}
        return read_problem_id(input.get("problem_id"), read_problem(state))
    except ConfigError:  # the first node says what is wrong with it
        return None


def _compared(chunks: Generator[Any, None, None], asked: str) -> Iterator[Any]:
    last: Any = None
    with closing(chunks):
        for chunk in chunks:
            yield chunk
            last = _values(chunk, last)
    _check(last, asked)


async def _acompared(chunks: AsyncIterator[Any], asked: str) -> AsyncIterator[Any]:
    last: Any = None
    async with aclosing(cast(AsyncGenerator[Any], chunks)):
        async for chunk in chunks:
            yield chunk
            last = _values(chunk, last)
    _check(last, asked)


def _values(chunk: Any, before: Any) -> Any:
    """A run's values where a chunk has them (alone, behind its mode, or as the data of a part), else those of before;
    None once it is interrupted."""
    found = chunk[-1] if isinstance(chunk, tuple) else chunk
    if isinstance(found, dict) and found.get("type") == "values":
        found = found["data"]
    if isinstance(found, dict) and "__interrupt__" in found:
        return None
    return found if isinstance(found, dict) and "stop_reason" in found else before


def _check(values: Any, asked: str) -> None:
    """Raises ResumeMismatch where the values are those of a whole run of another problem_id."""
    if not values or not values["stop_reason"] or not values.get("messages"):
        return
    found = getattr(values["messages"][-1], "response_metadata", {}).get("problem_id", asked)
    if found != asked:
        raise ResumeMismatch(
            f"this call asks for problem_id {shown(asked)}, but what it resumes is the run of {shown(found)}: a node "
            "that calls GSI several times must make its calls in the same order again. Send one task a problem to the "
            "node, or call with a thread_id of each problem's own"
        )
