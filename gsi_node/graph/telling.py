"""What callbacks, traces and `messages` streams hear of a run. They listen to chat models alone; so each committed step
is said once more by a model that only says it, and so is the response with what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from gsi_node.types import Plain


class Saying(BaseChatModel):
    """A chat model whose answer is `said`, in one chunk where its caller streams.

    disable_streaming: where nobody shall hear the text once more, as of a whole response after its steps: LangGraph
    leaves a message out of a stream that had its id before.
    """

    said: AIMessage
    cache: bool = False  # never the answer of another

    @property
    def _llm_type(self) -> str:
        return "gsi"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.said)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunk = AIMessageChunk(content=self.said.content, id=self.said.id, name=self.said.name, chunk_position="last")
        yield ChatGenerationChunk(message=chunk)


def summed_usage(usage: Mapping[str, Plain]) -> UsageMetadata:
    """The tokens of all models together, from the state's `usage`: output is what they generated, input what they
    scored. The tokens of prompts are in neither."""
    scored = sum(bill["scored_tokens"] for bill in usage.values())
    generated = sum(bill["generated_tokens"] for bill in usage.values())
    return UsageMetadata(input_tokens=scored, output_tokens=generated, total_tokens=scored + generated)
