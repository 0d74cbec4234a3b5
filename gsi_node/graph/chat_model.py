"""GSIChatModel: the node where LangChain expects a chat model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Annotated, Any, NoReturn, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.constants import TAG_HIDDEN
from pydantic import ConfigDict, Field, PrivateAttr

from gsi_node.errors import ConfigError
from gsi_node.graph.compiled import CompiledWholeRun, WholeRunGraph
from gsi_node.graph.context import read_context
from gsi_node.graph.inputs import as_input, read_input
from gsi_node.graph.reply import Reply
from gsi_node.step.problem import read_problem_id
from gsi_node.types import Plain


class GSIChatModel(BaseChatModel):
    """A chat model whose answers are those of a compiled node (compile_gsi), one chunk a committed step.

    max_tokens: tokens a response at most, instead of the node's. stop: strings before the first of which a response
    ends; those of a call count instead. streaming: LangChain's. A call may name settings of GSIContext
    (`invoke(…, seed=1)`, `bind(n=8)`). The messages are read as the node reads them, under its `earlier_messages`.
    Nothing is remembered between calls: no checkpointer is used, neither the node's nor that of a graph around it.
    Calls raise GSIError.
    """

    model_config = ConfigDict(extra="forbid")

    node: CompiledWholeRun
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: list[str] | None = None
    streaming: bool = False
    _run: CompiledWholeRun = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._run = self._graph.compile(checkpointer=False, name=self.node.name)

    @property
    def _graph(self) -> WholeRunGraph:
        return cast("WholeRunGraph", self.node.builder)

    @property
    def _llm_type(self) -> str:
        return "gsi"

    @property
    def _identifying_params(self) -> Plain:
        """What LangChain's caches know a model by."""
        own = {"model_name": self.node.name, "max_tokens": self.max_tokens, "stop_strings": self.stop}
        return {**own, **self._graph.identity}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        config = self._graph.config
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        defaults = LangSmithParams(
            ls_model_name=self.node.name, ls_temperature=config.temperature, ls_max_tokens=config.max_tokens
        )
        return LangSmithParams(**{**defaults, **params, "ls_provider": "gsi"})

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> NoReturn:
        """Raises ConfigError: the models write reasoning, which calls no tools and follows no schema."""
        raise ConfigError(
            "GSIChatModel calls no tools and gives no structured output: give the agent a model that does, and this "
            "solver as a tool of it: create_agent(model, tools=[gsi_tool(node)])"
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply, call = self._begin(messages, stop, kwargs)
        with closing(cast("Generator[Plain, None, None]", self._run.stream(**call))) as states:
            for state in states:
                yield from reply.chunks(state)
                if reply.stopped:
                    break
        yield reply.last()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply, call = self._begin(messages, stop, kwargs)
        async with aclosing(cast("AsyncGenerator[Plain]", self._run.astream(**call))) as states:
            async for state in states:
                for chunk in reply.chunks(state):
                    yield chunk
                if reply.stopped:
                    break
        yield reply.last()

    def _begin(self, messages: list[BaseMessage], stop: list[str] | None, settings: Plain) -> tuple[Reply, Plain]:
        """The reply to be told, and the arguments of the run that makes it."""
        asked = read_input({"messages": messages}, self._graph.config)
        reply = Reply(self.node.name, read_problem_id(None, asked), self.stop if stop is None else stop)
        given = {name: value for name, value in settings.items() if name != "stream"}  # LangChain's own
        if self.max_tokens is not None:
            given = {"max_tokens": self.max_tokens, **given}
        context = read_context(given, "GSIChatModel") if given else None
        call = {"input": as_input(asked), "config": {"tags": [TAG_HIDDEN]}, "context": context, "stream_mode": "values"}
        return reply, call
