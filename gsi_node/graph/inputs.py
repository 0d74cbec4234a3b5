"""The problem of an input: `problem`, or the last human message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import HumanMessage

from gsi_node.errors import ConfigError
from gsi_node.step.config import DEFAULT, GSIConfig
from gsi_node.step.problem import read_text


def read_problem(state: Mapping[str, Any], config: GSIConfig = DEFAULT) -> str:
    """`problem`, or the text of the last human message. Raises ConfigError."""
    problem = state.get("problem")
    if problem is None:
        messages = state.get("messages") or []
        last = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=None)
        if last is None:
            raise ConfigError("problem: want {'problem': str} or {'messages': [..., a human message]}")
        if config.earlier_messages == "refuse" and last > 0:
            raise ConfigError(
                f"messages: {last} stand before the last human message, which alone would reach the "
                "models; put all that matters into it, or set earlier_messages to 'ignore'"
            )
        problem = str(messages[last].text)
    return read_text(problem, "problem")
