"""Graphs that no recursion limit cuts short: their own budgets bound them, however they are called."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from gsi_node.cancel import iterate_interruptible, run_interruptible
from gsi_node.errors import ConfigError, ResumeMismatch, shown
from gsi_node.graph.context import given_context
from gsi_node.graph.inputs import read_input
from gsi_node.graph.rewinds import Past, acheck_rewind, check_rewind, left_behind
from gsi_node.graph.state import add_given_messages
from gsi_node.step.config import DEFAULT, GSIConfig
from gsi_node.step.guesses import aiterate_guessing, iterate_guessing
from gsi_node.step.problem import read_problem_id
from gsi_node.types import Prefix, default_id

SUPERSTEPS = 10**15  # more than any run has, and an integer that JSON and msgpack hold


class WholeRunGraph(StateGraph[Any, Any, Any, Any]):
    """A StateGraph whose compile() gives a CompiledWholeRun. config: the settings by which inputs are read. identity:
    what its runs depend on, the settings and the models."""

    def __init__(
        self, *args: Any, config: GSIConfig = DEFAULT, identity: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.config = config
        self.identity = dict(identity or {})

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
    is the run of another problem_id. So is an edit inside of the node that LangGraph would drop (rewinds.py).
    """

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        items = cast("Generator[Any, None, None]", super().stream(input, _unlimited(config), **self._read(kwargs)))
        most = self._guesses
        chunks = iterate_interruptible(items if most is None else iterate_guessing(items, most))
        call = self._call(input, config)
        return chunks if call is None else _compared(chunks, call)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        whole: Callable[..., Any] = super().invoke
        return run_interruptible(whole, input, config, **kwargs)  # one thread, and not one a chunk

    def batch(self, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return run_interruptible(super().batch, inputs, *args, **kwargs)

    def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        chunks = super().astream(input, _unlimited(config), **self._read(kwargs))
        if (most := self._guesses) is not None:
            chunks = aiterate_guessing(cast("AsyncGenerator[Any, None]", chunks), most)
        call = self._call(input, config)
        return chunks if call is None else _acompared(chunks, call)

    @property
    def _guesses(self) -> int | None:
        return cast("WholeRunGraph", self.builder).config.guesses

    def _call(self, input: object, config: RunnableConfig | None) -> _Call | None:
        """What a call inside a node of a parent asks for; None of other calls, and of unreadable input."""
        if not isinstance(input, Mapping) or not ensure_config(config)["configurable"].get("checkpoint_ns"):
            return None
        settings, name = cast("WholeRunGraph", self.builder).config, input.get("problem_id")
        try:
            state = {**input, "messages": add_given_messages([], input.get("messages") or [])}
            asked = read_input(state, settings)
            past = left_behind(config) if self.checkpointer is None else []
            return _Call(settings, asked, read_problem_id(name, asked), name is not None, past)
        except ConfigError:  # the first node says what is wrong with it
            return None

    def _read(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "context": given_context(kwargs.get("context"), self.context_schema)}


def _unlimited(config: RunnableConfig | None) -> RunnableConfig:
    """The caller's config with more supersteps than any run has; with_config could not say so, the caller's wins."""
    return {**(config or {}), "recursion_limit": SUPERSTEPS}


class _Call(NamedTuple):
    """What a call asks for, and the problem_id of that. named: the call says it itself. past: what it was to go on
    from, and does not."""

    settings: GSIConfig
    asked: Prefix
    problem_id: str
    named: bool
    past: list[Past]


def _compared(chunks: Generator[Any, None, None], call: _Call) -> Iterator[Any]:
    last: Any = None
    with closing(chunks):
        check_rewind(call.past)
        for chunk in chunks:
            yield chunk
            last = _values(chunk, last)
    _check(last, call)


async def _acompared(chunks: AsyncIterator[Any], call: _Call) -> AsyncIterator[Any]:
    last: Any = None
    async with aclosing(cast(AsyncGenerator[Any], chunks)):
        await acheck_rewind(call.past)
        async for chunk in chunks:
            yield chunk
            last = _values(chunk, last)
    _check(last, call)


def _values(chunk: Any, before: Any) -> Any:
    """A run's values where a chunk has them (alone, behind its mode, or as the data of a part), else those of before;
    None once it is interrupted."""
    found = chunk[-1] if isinstance(chunk, tuple) else chunk
    if isinstance(found, dict) and found.get("type") == "values":
        found = found["data"]
    if isinstance(found, dict) and "__interrupt__" in found:
        return None
    return found if isinstance(found, dict) and "stop_reason" in found else before


def _check(values: Any, call: _Call) -> None:
    """Raises ResumeMismatch where the values are those of a whole run of another problem_id."""
    if not values or not values["stop_reason"] or not values.get("messages"):
        return
    *before, answer = values["messages"]
    found = getattr(answer, "response_metadata", {}).get("problem_id", call.problem_id)
    if found != call.problem_id and not _ends_with(before, call, found):
        raise ResumeMismatch(
            f"this call asks for problem_id {shown(call.problem_id)}, but what it resumes is the run of "
            f"{shown(found)}: a node that calls GSI several times must make its calls in the same order again. Send "
            "one task a problem to the node, or call with a thread_id of each problem's own"
        )


def _ends_with(messages: list[Any], call: _Call, found: str) -> bool:
    """Whether a run of the default id `found` answered a conversation that ends with what is asked: a subgraph with
    checkpointer=True has the messages of its earlier calls before the ones that it is given."""
    if call.named or call.settings.earlier_messages != "carry":
        return False
    try:
        ran = read_input({"messages": messages}, call.settings)
    except ConfigError:  # then the run's problem was not one of them
        return False
    turns = len(call.asked.earlier)
    tail = ran.earlier[len(ran.earlier) - turns :]
    return (default_id(ran.problem, ran.earlier), ran.problem, tail) == (found, call.asked.problem, call.asked.earlier)
