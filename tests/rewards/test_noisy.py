"""The noise on a reward: its law, that it stays with the text, and that specs reach it."""

from __future__ import annotations

import numpy as np
import pytest

from gsi_node.errors import ConfigError, RewardOutOfRange
from gsi_node.rewards.wrappers.noisy import NoisyReward
from gsi_node.specs.load import load_reward
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step

TEXTS = [f"step {i}\n\n" for i in range(2000)]
STEPS = [Step(text, (1,), 0.0, False) for text in TEXTS]
INNER = TableReward(dict.fromkeys(TEXTS, 1.5), range=(-1.0, 3.0))


def test_without_noise_the_reward_is_the_inner_one() -> None:
    assert NoisyReward(INNER, 0.0)(Prefix("p"), STEPS) == INNER(Prefix("p"), STEPS)


def test_nothing_but_noise_is_uniform_on_the_range() -> None:
    values = np.sort(NoisyReward(INNER, 1.0)(Prefix("p"), STEPS))
    expected = -1.0 + 4.0 * (np.arange(2000) + 0.5) / 2000
    assert np.abs(values - expected).max() / 4.0 < 1.95 / np.sqrt(2000)  # Kolmogorov–Smirnov at 0.1 %


def test_a_share_mixes_the_same_noise() -> None:
    noise = np.asarray(NoisyReward(INNER, 1.0)(Prefix("p"), STEPS))
    mixed = np.asarray(NoisyReward(INNER, 0.3)(Prefix("p"), STEPS))
    np.testing.assert_allclose(mixed, 0.7 * 1.5 + 0.3 * noise, rtol=0, atol=1e-12)


async def test_noise_belongs_to_the_content_not_to_the_call() -> None:
    reward = NoisyReward(INNER, 0.5)
    once = reward(Prefix("p"), STEPS[:4])
    assert await reward.acall(Prefix("p"), STEPS[:4]) == once
    assert reward(Prefix("p"), STEPS[3::-1]) == once[::-1]
    assert reward(Prefix("p"), STEPS[2:3]) == once[2:3]
    others = [
        reward(Prefix("q"), STEPS[:4]),
        reward(Prefix("p", (STEPS[9],)), STEPS[:4]),
        NoisyReward(INNER, 0.5, seed=1)(Prefix("p"), STEPS[:4]),
    ]
    assert all(set(once).isdisjoint(other) for other in others)


def test_specs_settings_and_mistakes() -> None:
    plain, noisy = load_reward("verifier"), load_reward("noisy:verifier?share=0.25&seed=7")
    assert isinstance(noisy, NoisyReward) and (noisy.share, noisy.seed, noisy.range) == (0.25, 7, plain.range)
    assert len({plain.fingerprint, noisy.fingerprint, load_reward("noisy:verifier?share=0.3&seed=7").fingerprint}) == 3
    with pytest.raises(ConfigError, match="between 0"):
        load_reward("noisy:verifier?share=1.5")
    with pytest.raises(ConfigError, match="finite range"):
        NoisyReward(TableReward({}, range=(0.0, float("inf"))))


def test_noise_hides_no_reward_out_of_range() -> None:
    with pytest.raises(RewardOutOfRange, match="gave 9.0 for candidate 0"):
        NoisyReward(TableReward({TEXTS[0]: 9.0}), 0.1)(Prefix("p"), STEPS[:1])
