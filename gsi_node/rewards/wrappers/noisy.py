"""A reward made worse on purpose: what a method keeps when the reward model errs is measured with this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from gsi_node.core.rng import Stream
from gsi_node.errors import ConfigError
from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.wrapped import Rewards, Wrapped
from gsi_node.types import Key, Prefix, Step


class NoisyReward(Wrapped):
    """r'(x, y) = (1 − s)·r(x, y) + s·U, with U uniform on the range of r and s = `share` in [0, 1].

    U is a pure function of (seed, turns and problem, texts of the steps, text of y), so a step keeps its reward when it
    is asked for again, and equal texts get equal noise. Range and units are those of `inner`. Raises ConfigError.
    """

    def __init__(self, inner: Reward, share: float = 0.1, seed: int = 0) -> None:
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"the share of noise is {share}; it must be between 0 (none) and 1 (nothing but noise)")
        if not all(map(isfinite, inner.range)):
            raise ConfigError(f"noise needs a finite range; the reward's is {inner.range}")
        super().__init__(inner, name=f"{name_of(inner)} with {share:.0%} noise")
        self.share = share
        self.seed = seed

    @property
    def fingerprint(self) -> str:
        return f"noisy {self.share} {self.seed} {self.members[0].fingerprint}"

    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        def mixed(said: Rewards) -> list[float]:
            return [self._mixed(r, prefix, y) for rewards in said for r, y in zip(rewards, steps, strict=True)]

        return steps, mixed

    def _mixed(self, reward: float, prefix: Prefix, step: Step) -> float:
        low, high = self.range
        before = tuple(step.text for step in prefix.steps)
        name = repr((*prefix.earlier, prefix.problem, before, step.text, step.finished))
        noise = low + (high - low) * Stream(Key(self.seed, name, len(before), "reward-noise")).uniform()
        return (1.0 - self.share) * reward + self.share * noise
