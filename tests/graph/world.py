"""A small world of table models for the graph's tests; importable from subprocesses. No neural network."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from gsi_node.graph.build import compile_gsi
from gsi_node.step.config import GSIConfig
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step


def steps_then_answer(good: float, length: int) -> Any:
    """A table by prefix: `length` steps, good or bad, each naming its place, then an answer."""

    def table(prefix: Prefix) -> dict[str, float]:
        place = len(prefix.steps)
        if place >= length:
            return {r"so \boxed{7}": good, r"so \boxed{8}": 1.0 - good}
        return {f"good {place}\n\n": good, f"bad {place}\n\n": 0.6 * (1 - good), f"ugly {place}\n\n": 0.4 * (1 - good)}

    return table


def reward_of(prefix: Prefix, step: Step) -> float:
    return 0.9 if "good" in step.text or "7" in step.text else 0.3 if "bad" in step.text else 0.1


class Slow(TableModel):
    """A table model that takes its time, so that a kill finds it at work."""

    delay = 0.0

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        time.sleep(self.delay)
        return super().sample(prefix, n, key, law)

    def score(self, prefix: Prefix, steps: Any, law: SamplingLaw) -> list[Score]:
        time.sleep(self.delay)
        return super().score(prefix, steps, law)


def models(length: int = 5) -> dict[str, Any]:
    return {
        "draft": Slow(steps_then_answer(0.4, length), name="draft"),
        "base": Slow(steps_then_answer(0.8, length), name="base"),
        "reward": TableReward(reward_of, name="reward"),
    }


def config(**fields: Any) -> GSIConfig:
    return GSIConfig(**{"n": 3, "beta": 4.0, "threshold": 0.6, "step_end": "paragraph", **fields})


def compiled(length: int = 5, checkpointer: Any = None, parts: dict[str, Any] | None = None, **fields: Any) -> Any:
    return compile_gsi(**(parts or models(length)), config=config(**fields), checkpointer=checkpointer)


def thread(name: str = "1") -> Any:
    return {"configurable": {"thread_id": name}}


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what may differ between equal runs: wall seconds and message ids."""
    usage = {role: {k: v for k, v in bill.items() if k != "seconds"} for role, bill in result["usage"].items()}
    messages = [(type(message).__name__, message.content) for message in result["messages"]]
    return {**result, "usage": usage, "messages": messages}


def environment() -> dict[str, str]:
    """The environment of a subprocess that imports these tests."""
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(Path(__file__).parents[2])}
