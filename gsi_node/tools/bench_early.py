"""`gsi bench --judge-early`: what judging candidates as they end is worth, beside the same runs without.

The same problems both ways, in turns. --delay: seconds that the reward takes longer for n different candidates, a share
of them for fewer, as a larger one on another device would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rich.table import Table

from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.wrapped import Rewards, Wrapped
from gsi_node.step.config import GSIConfig
from gsi_node.tools.bench_lookahead import measure, ratios
from gsi_node.types import Prefix, Step


class LaboriousReward(Wrapped):
    """r, `seconds` later for every different candidate."""

    def __init__(self, inner: Reward, seconds: float) -> None:
        super().__init__(inner, name=f"{name_of(inner)}, {seconds:g} s a candidate later")
        self.seconds = seconds

    @property
    def fingerprint(self) -> str:
        return self.members[0].fingerprint

    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        return steps, partial(self._later, len({step.token_ids for step in steps}))

    def _later(self, candidates: int, said: Rewards) -> list[float]:
        time.sleep(self.seconds * candidates)
        return said[0]


def table(parts: dict[str, Any], config: GSIConfig, size: int, delay: float) -> Table:
    """The runs both ways, a line each."""
    if delay:
        parts = {**parts, "reward": LaboriousReward(parts["reward"], delay / config.n)}
    still, early = measure(parts, config, "judge_early", (False, True), size)
    late = f", the reward {delay:g} s later for {config.n} different candidates" if delay else ""
    made = Table(
        *("judge_early", "steps", "s a step", "of these waited for the reward", "CPU s a step"),
        title=f"{config.method}, n = {config.n}, {size} problems{late}",
        caption=f"true over false: {ratios(early, still)}",
    )
    for name, one in (("false", still), ("true", early)):
        each = (f"{value / one.steps:.4f}" for value in (one.seconds, one.waited, one.cpu))
        made.add_row(name, str(one.steps), *each)
    return made
