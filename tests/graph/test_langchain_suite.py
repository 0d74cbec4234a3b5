"""LangChain's own tests of chat models, offline: on the shipped models, whose template takes one question at a time,
and on miniatures whose template takes every role."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from gsi_node import GSIChatModel, GSIConfig, compile_gsi, load_model, load_reward
from gsi_node.graph.compiled import CompiledWholeRun
from tests.miniature import Miniatures


@cache
def pocket() -> CompiledWholeRun:
    config = GSIConfig(n=2, max_steps=6, earlier_messages="ignore")
    return compile_gsi(
        draft=load_model("pocket:draft"), base=load_model("pocket:base"), reward=load_reward("pocket"), config=config
    )


class TestUnits(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return GSIChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"node": pocket()}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        """No api_key, timeout or max_retries, since no server is asked; a temperature of 0 has no ratio π_B/π_S."""
        return {"max_tokens": 100, "stop": []}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False


class TestPocket(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return GSIChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"node": pocket()}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False


class TestEveryRole(TestPocket):
    """The conversations reach the models whole: earlier_messages is "carry"."""

    @pytest.fixture(autouse=True)
    def _two_miniatures(self, miniatures: Miniatures) -> None:
        draft, base = (miniatures.language(seed=seed, dtype="float64") for seed in (0, 1))
        config = GSIConfig(method="gsi", n=2, max_steps=3, max_tokens=60)
        self.node = compile_gsi(draft=draft, base=base, reward=load_reward("verifier"), config=config)

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"node": self.node}
