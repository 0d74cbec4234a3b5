"""The clients that the solver is plugged into, and a model for their agents that says what its script says."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import Field

from tests.graph.world import compiled


def client(module: str) -> Any:
    """A client's module. Outside the environment of `make test-plugs`, the file that asks for it is skipped."""
    if find_spec("deepagents") is None:
        pytest.skip("deepagents and the other clients are not installed: make test-plugs", allow_module_level=True)
    return import_module(module)


def calls(name: str, *args: dict[str, Any]) -> AIMessage:
    """A message that calls a tool once for each of these arguments."""
    return AIMessage("", tool_calls=[{"name": name, "args": one, "id": f"{name}-{i}"} for i, one in enumerate(args)])


class Scripted(FakeMessagesListChatModel):
    """Says its responses in turn, and remembers what tools it was offered and what it read."""

    offered: set[str] = Field(default_factory=set)
    read: list[list[BaseMessage]] = Field(default_factory=list)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.offered |= {tool.name for tool in tools}
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.read.append(messages)
        return super()._generate(messages, *args, **kwargs)


def scripted(*responses: AIMessage) -> Scripted:
    return Scripted(responses=list(responses))


def told(problem: str) -> str:
    """What the tool says of a problem: what the node answers it."""
    return f"Answer: 7\n\n{compiled().invoke({'problem': problem})['response']}"


def counted(model: Any) -> list[int]:
    """The calls of a model's `sample` from here on."""
    made: list[int] = []
    sample = model.sample

    def counting(*args: Any) -> Any:
        made.append(1)
        return sample(*args)

    model.sample = counting
    return made
