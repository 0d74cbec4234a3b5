"""95 % intervals must cover the truth 93 to 97 times in a hundred, on problems that differ in difficulty.

Fixed streams: the same result on every run. The same simulation shows that the two classical mistakes, ignoring that
seeds share problems and ignoring that methods share problems, would be found.
"""

from __future__ import annotations

import numpy as np
import pytest

from evals.report import stats
from gsi_node.types import Array

REPEATS = 1500
COVERED = (0.93, 0.97)


def difficulty(rng: np.random.Generator, share: float, alike: float, size: int) -> Array:
    """Success probabilities of problems with mean `share` and intra-problem correlation `alike` (a beta law)."""
    k = 1 / alike - 1
    return rng.beta(share * k, (1 - share) * k, size)


@pytest.mark.parametrize(("problems", "seeds", "share", "alike"), [(100, 3, 0.8, 0.5), (300, 5, 0.3, 0.4)])
def test_the_clustered_interval_covers_and_the_naive_one_does_not(
    problems: int, seeds: int, share: float, alike: float
) -> None:
    rng = np.random.default_rng(problems)
    covered = naive = 0
    for _ in range(REPEATS):
        right = rng.binomial(seeds, difficulty(rng, share, alike, problems))
        found = stats.proportion(right, np.full(problems, seeds))
        low, high = stats.wilson(found.value, problems * seeds)
        covered += found.low <= share <= found.high
        naive += low <= share <= high
    assert COVERED[0] <= covered / REPEATS <= COVERED[1]
    assert naive / REPEATS < 0.9


def test_the_clustered_standard_error_is_that_of_a_bootstrap_over_problems() -> None:
    rng = np.random.default_rng(5)
    right = rng.binomial(3, difficulty(rng, 0.7, 0.5, 80))
    again = rng.integers(80, size=(20_000, 80))
    bootstrap = right[again].sum(axis=1) / 240
    assert stats.proportion(right, np.full(80, 3)).se == pytest.approx(bootstrap.std(), rel=0.03)


@pytest.mark.parametrize(("problems", "seeds", "gap"), [(100, 1, 0.1), (200, 3, 0.02), (100, 3, 0.0)])
def test_the_paired_interval_covers_and_the_unpaired_one_is_too_wide(problems: int, seeds: int, gap: float) -> None:
    rng = np.random.default_rng(problems + seeds)
    covered = unpaired = rejected = 0
    for _ in range(REPEATS):
        easy = difficulty(rng, 0.8, 0.7, problems)
        first = rng.binomial(seeds, easy)
        second = rng.binomial(seeds, easy * (0.8 - gap) / 0.8)
        m = np.full(problems, seeds)
        found = stats.paired_difference(first - second, m)
        covered += found.low <= gap <= found.high
        half = 1.96 * np.hypot(stats.proportion(first, m).se, stats.proportion(second, m).se)
        unpaired += abs(found.value - gap) <= half
        rejected += found.p_value <= 0.05
    assert COVERED[0] <= covered / REPEATS <= COVERED[1]
    assert unpaired / REPEATS > 0.985
    if gap == 0:
        assert rejected / REPEATS <= 0.06
