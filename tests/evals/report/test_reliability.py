"""The expected calibration error: its sum, its interval over problems, and what chance alone would show."""

from __future__ import annotations

import numpy as np
import pytest

from evals.report.reliability import LabelledReward, calibration_error, curve


def drawn(rng: np.random.Generator, problems: int, lowered: float, alike: float = 0.4) -> list[LabelledReward]:
    """Steps that are good with probability r − lowered, alike within a problem: each reads the problem's own uniform
    with probability `alike`, else a fresh one."""
    made = []
    for k in range(problems):
        shared, size = rng.random(), int(rng.integers(5, 30))
        rewards = rng.uniform(0.25, 1.0, size)
        uniforms = np.where(rng.random(size) < alike, shared, rng.random(size))
        made += [
            LabelledReward(f"p{k}", "draft", float(r), bool(u < r - lowered))
            for r, u in zip(rewards, uniforms, strict=True)
        ]
    return made


def test_it_is_the_sum_over_bins() -> None:
    steps = [
        LabelledReward(problem, "draft", reward, good)
        for problem, reward, good in [("p", 0.95, True), ("p", 0.91, False), ("q", 0.05, False), ("q", 0.32, True)]
    ]
    found = calibration_error(steps)
    assert found.ece.value == pytest.approx((2 * abs(0.93 - 0.5) + 0.05 + 0.68) / 4)
    assert found.ece.value == pytest.approx(curve("gate", "steps", "draft", steps).ece)
    assert (found.ece.clusters, found.ece.rows) == (2, 4)


def test_the_interval_covers_where_the_error_is_large() -> None:
    rng, repeats, truth = np.random.default_rng(0), 400, 0.15
    found = [calibration_error(drawn(rng, 60, truth)).ece for _ in range(repeats)]
    assert np.mean([one.low <= truth <= one.high for one in found]) == pytest.approx(0.95, abs=0.03)
    alone = [
        calibration_error([one._replace(problem=str(k)) for k, one in enumerate(drawn(rng, 60, truth))]).ece
        for _ in range(repeats // 2)
    ]
    assert np.mean([one.low <= truth <= one.high for one in alone]) < 0.85  # steps of one problem are not independent


def test_chance_is_what_a_calibrated_reward_shows() -> None:
    rng = np.random.default_rng(1)
    found = [calibration_error(drawn(rng, 60, 0.0)) for _ in range(200)]
    assert np.mean([one.chance for one in found]) == pytest.approx(np.mean([one.ece.value for one in found]), rel=0.1)
