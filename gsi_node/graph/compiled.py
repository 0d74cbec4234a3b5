"""Graphs that no recursion limit cuts short: their own budgets bound them, however they are called."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from gsi_node.cancel import iterate_interruptible, run_interruptible
from gsi_node.graph.context import given_context


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

    A `context` of a graph compiled for GSIContext is read here: ConfigError for what is none.
    """

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        items = super().stream(input, _unlimited(config), **self._read(kwargs))
        return iterate_interruptible(cast("Generator[Any, None, None]", items))

    def batch(self, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return run_interruptible(super().batch, inputs, *args, **kwargs)

    def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        return super().astream(input, _unlimited(config), **self._read(kwargs))

    def _read(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "context": given_context(kwargs.get("context"), self.context_schema)}


def _unlimited(config: RunnableConfig | None) -> RunnableConfig:
    """The caller's config with more supersteps than any run has; with_config could not say so, the caller's wins."""
    return {**(config or {}), "recursion_limit": sys.maxsize}
