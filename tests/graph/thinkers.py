"""Pairs of models that think, for the graph's tests, and runs of theirs whose thinking is closed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gsi_node import compile_gsi, load_model
from gsi_node.models.transformers import TransformersModel
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.world import thread
from tests.thinker import USUAL, Laws, build_thinker

LAZY: Laws = {**USUAL, ".\n\n": {" the": 0.9, " so": 0.05, "</think>": 0.05}}
"""Thinks longer."""


def length(prefix: Prefix, step: Step) -> float:
    return 0.9 if len(step.text) % 3 else 0.2


REWARD = TableReward(length, name="length")
PROBLEM = {"problem": "1+1"}
CLOSING = "\n</think>\n\n"
SEEDS = range(6)
BOTH = pytest.mark.parametrize("opened", ["itself", "prompt"])


def build_pairs(root: Path) -> Path:
    """The folders that `parts` loads."""
    for opened in ("itself", "prompt"):
        build_thinker(root / opened, opened=opened)
        build_thinker(root / f"lazy-{opened}", opened=opened, laws=LAZY)
    return root


@cache
def model(root: Path, name: str = "itself", options: str = "") -> TransformersModel:
    found = load_model(f"hf:{root / name}?dtype=float64{options}")
    assert isinstance(found, TransformersModel)
    return found


def parts(root: Path, opened: str = "itself") -> dict[str, Any]:
    return {"draft": model(root, f"lazy-{opened}"), "base": model(root, opened), "reward": REWARD}


def config(**fields: Any) -> GSIConfig:
    return GSIConfig(**{"n": 3, "beta": 2.0, "temperature": 1.0, "max_tokens": 400, **fields})


def run(parts: dict[str, Any], problem: Any = PROBLEM, saver: Any = None, **fields: Any) -> dict[str, Any]:
    graph = compile_gsi(**parts, config=config(**fields), checkpointer=saver)
    found: dict[str, Any] = graph.invoke(problem, thread() if saver else None)
    return found


def ids(result: Any) -> list[list[int]]:
    return [step["token_ids"] for step in result["steps"]]


@cache
def seed_of(root: Path, opened: str = "itself") -> int:
    """A seed whose thinking takes 12 tokens and more."""
    for seed in SEEDS:
        steps = run(parts(root, opened), seed=seed, max_thinking_tokens=12)["steps"]
        if sum(step["source"] == "given" for step in steps) == 1:
            return seed
    raise AssertionError("no thinking was closed")


def forced(root: Path, opened: str = "itself", **fields: Any) -> tuple[dict[str, Any], dict[str, Any], int]:
    """A run whose thinking was closed, the record that closed it, and its place."""
    result = run(parts(root, opened), seed=seed_of(root, opened), max_thinking_tokens=12, **fields)
    given = next(step for step in result["steps"] if step["source"] == "given")
    return result, given, result["steps"].index(given)
