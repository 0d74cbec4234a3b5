"""gsi_node.testing.check_reward: sound rewards pass, and each planted mistake is caught and named."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from gsi_node import RewardBase, callable_reward
from gsi_node.errors import ConfigError, ContractBroken
from gsi_node.protocols import Reward
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers.cached import CachedReward
from gsi_node.rewards.wrappers.ensemble import Ensemble
from gsi_node.rewards.wrappers.noisy import NoisyReward
from gsi_node.specs.load import load_reward
from gsi_node.testing import check_reward
from gsi_node.types import Prefix, Step


class Length(RewardBase):
    """Nothing wrong; mutants change one thing."""

    def one(self, step: Step) -> float:
        return min(1.0, len(step.text) / 50)

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [self.one(step) for step in steps]


class OutOfRange(Length):
    def one(self, step: Step) -> float:
        return len(step.text)


class NotANumber(Length):
    def one(self, step: Step) -> float:
        return math.nan


class OneMissing(Length):
    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return super().__call__(prefix, steps)[:-1]


class OneTooMany(Length):
    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return super().__call__(prefix, steps) + [0.5] * (not steps)


class Scalar(Length):
    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return 0.5  # type: ignore[return-value]


class Ranked(Length):
    """The best of the batch gets 1."""

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        most = max((len(step.text) for step in steps), default=1)
        return [len(step.text) / most for step in steps]


class ByPlace(Length):
    """A first step always gets what it should, others lose by their place."""

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [self.one(step) / (1 + 0.1 * place) for place, step in enumerate(steps)]


class Forgetful(Length):
    def one(self, step: Step) -> float:
        return random.random()


class TwinDiffers(Length):
    async def acall(self: Reward, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [0.5 for _ in steps]


class Renamed(Length):
    """Its fingerprint follows what it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def fingerprint(self) -> str:
        return f"renamed {self.asked}"

    def one(self, step: Step) -> float:
        self.asked += 1
        return super().one(step)


class NoInterval(Length):
    range = (1.0, 0.0)


@pytest.mark.parametrize(
    "reward",
    [
        Length(),
        VerifierReward(),
        callable_reward(lambda problem, steps: len(steps) / 9),
        CachedReward(VerifierReward()),
        NoisyReward(VerifierReward(), 0.3),
        Ensemble([VerifierReward(), Length()]),
    ],
    ids=lambda reward: type(reward).__name__,
)
def test_a_sound_reward_passes(reward: Reward) -> None:
    check_reward(reward)


def test_the_shipped_reward_passes() -> None:
    check_reward(load_reward("pocket"), tolerance=1e-4)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (OutOfRange, r"OutOfRange gave 15.0 for candidate 0 .* its range is \[0.0, 1.0\]"),
        (NotANumber, "gave nan for candidate 0"),
        (OneMissing, "returned 3 rewards for 4 candidates"),
        (OneTooMany, "returned 1 rewards for 0 candidates"),
        (Scalar, "returned 0.5, a float, for 4 candidates"),
        (Ranked, "asked alone"),
        (ByPlace, "asked alone"),
        (Forgetful, "asked again"),
        (TwinDiffers, "awaited"),
        (Renamed, "its fingerprint was 'renamed 0', and is"),
        (NoInterval, "holds no interval"),
    ],
)
def test_a_mistake_is_caught_and_named(kind: type[Reward], told: str) -> None:
    with pytest.raises(ContractBroken, match=told):
        check_reward(kind())


def test_what_is_no_reward_is_refused_as_such() -> None:
    with pytest.raises(ConfigError, match="the reward: .* lacks range and fingerprint"):
        check_reward(len)  # type: ignore[arg-type]
