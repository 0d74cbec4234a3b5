"""A reward made worse on purpose: what a method keeps when the reward model errs is measured with this."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from gsi_node.cancel import run_cancellable
from gsi_node.core.rng import Stream
from gsi_node.errors import BackendError, ConfigError, RewardOutOfRange
from gsi_node.protocols import Reward, name_of
from gsi_node.types import Key, Prefix, Step


class NoisyReward:
    """r'(x, y) = (1 − s)·r(x, y) + s·U, with U uniform on the range of r and s = `share` in [0, 1].

    U is a pure function of (seed, problem, texts of the steps, text of y), so a step keeps its reward when it is asked
    for again, and equal texts get equal noise. Range and units are those of `inner`.
    Raises ConfigError, BackendError, RewardOutOfRange.
    """

    def __init__(self, inner: Reward, share: float = 0.1, seed: int = 0) -> None:
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"the share of noise is {share}; it must be between 0 (none) and 1 (nothing but noise)")
        if not all(map(isfinite, inner.range)):
            raise ConfigError(f"noise needs a finite range; the reward's is {inner.range}")
        self.inner = inner
        self.share = share
        self.seed = seed
        self.name = f"{name_of(inner)} with {share:.0%} noise"

    @property
    def range(self) -> tuple[float, float]:
        return self.inner.range

    @property
    def fingerprint(self) -> str:
        return f"noisy {self.share} {self.seed} {self.inner.fingerprint}"

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return self._mixed(self.inner(prefix, steps), prefix, steps)

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        twin = getattr(self.inner, "acall", None)
        work = run_cancellable(self.inner.__call__, prefix, steps) if twin is None else twin(prefix, steps)
        return self._mixed(await work, prefix, steps)

    def _mixed(self, rewards: Sequence[float], prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if len(rewards) != len(steps):
            raise BackendError(f"{self.name}: {len(rewards)} rewards for {len(steps)} candidates")
        low, high = self.range
        before = tuple(step.text for step in prefix.steps)
        mixed = []
        for i, (reward, step) in enumerate(zip(rewards, steps, strict=True)):
            if not low <= reward <= high:  # noise would hide it from the run
                raise RewardOutOfRange(f"{self.name}: candidate {i} has reward {reward} outside of [{low}, {high}]")
            name = repr((prefix.problem, before, step.text, step.finished))
            noise = low + (high - low) * Stream(Key(self.seed, name, len(before), "reward-noise")).uniform()
            mixed.append((1.0 - self.share) * reward + self.share * noise)
        return mixed
