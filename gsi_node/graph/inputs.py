"""What an input asks: `problem` alone, or the last human message after the turns of the conversation before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage

from gsi_node.errors import ConfigError, shown
from gsi_node.step.config import GSIConfig
from gsi_node.step.problem import read_text, read_turn
from gsi_node.types import Plain, Prefix, Turn

_ROLES: Mapping[type[BaseMessage], str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}
_IGNORE = "set earlier_messages to 'ignore', which leaves all messages but the last human one out"


def read_input(state: Mapping[str, Any], config: GSIConfig) -> Prefix:
    """`problem`, whatever the messages beside it; or the last human message, with the turns before it where
    `earlier_messages` carries them. Raises ConfigError, which names the message that cannot be carried."""
    if (problem := state.get("problem")) is not None:
        return Prefix(read_text(problem, "problem"))
    messages = state.get("messages") or []
    last = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=None)
    if last is None:
        raise ConfigError("problem: want {'problem': str} or {'messages': [..., a human message]}")
    if config.earlier_messages == "refuse" and last > 0:
        raise ConfigError(
            f"messages: {last} stand before the last human message, and earlier_messages is 'refuse'; set it to "
            "'carry', which hands them to the models, or to 'ignore'"
        )
    if config.earlier_messages != "ignore" and last + 1 < len(messages):
        raise ConfigError(
            f"messages[{last + 1}]: {_called(messages[last + 1])} after the last human message, which the models would "
            f"not see; end with a human message (what a response begins with belongs into initial_steps), or {_IGNORE}"
        )
    before = messages[:last] if config.earlier_messages == "carry" else []
    earlier = tuple(_turn(message, f"messages[{i}]") for i, message in enumerate(before))
    fix = "say in words what matters"
    return Prefix(read_text(_text(messages[last], f"messages[{last}]", fix), "problem"), earlier=earlier)


def as_input(asked: Prefix) -> Plain:
    """The input that asks this."""
    if not asked.earlier:
        return {"problem": asked.problem}
    turns = (*asked.earlier, Turn("user", asked.problem))
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in turns]}


def _turn(message: BaseMessage, where: str) -> Turn:
    role = next((role for kind, role in _ROLES.items() if isinstance(message, kind)), None)
    if role is None or _calls_tools(message):
        raise ConfigError(
            f"{where}: {_called(message)}; of the messages before the last human one the models read the text of "
            f"system, human and AI messages alone. Leave it out, or {_IGNORE}"
        )
    return read_turn(role, _text(message, where, f"leave it out, or {_IGNORE}"), where)


def _text(message: BaseMessage, where: str, fix: str) -> str:
    """The text of a message, as LangChain's `.text` joins it. Raises ConfigError for a block that is none."""
    for block in [] if isinstance(message.content, str) else message.content:
        if not isinstance(block, str) and not (block.get("type") == "text" and isinstance(block.get("text"), str)):
            kind = shown(block.get("type", block), 40)
            raise ConfigError(f"{where}: a content block {kind}, but the models read text alone; {fix}")
    return str(message.text)


def _calls_tools(message: BaseMessage) -> bool:
    if not isinstance(message, AIMessage):
        return False
    raw = message.additional_kwargs
    return bool(message.tool_calls or message.invalid_tool_calls or raw.get("tool_calls") or raw.get("function_call"))


def _called(message: BaseMessage) -> str:
    """What a message is, in an error."""
    if isinstance(message, ChatMessage):
        return f"a ChatMessage of role {shown(message.role, 40)}"
    return f"{type(message).__name__}{' with tool calls' if _calls_tools(message) else ''}"
