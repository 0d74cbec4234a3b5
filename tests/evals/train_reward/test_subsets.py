"""Choosing one of n against every subset, spelled out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations, product

import pytest

from evals.train_reward import subsets


def enumerated(size: int, n: int, right: Callable[[Sequence[int]], float]) -> float:
    """The mean over all subsets."""
    every = list(combinations(range(size), n))
    return sum(map(right, every)) / len(every)


def test_the_best_an_oracle_and_a_random_one() -> None:
    tables = product(product((None, 0.2, 0.7), repeat=4), product((False, True), repeat=4), range(1, 5))
    for values, good, n in tables:
        able = [value is not None for value in values]

        def best(some: Sequence[int], values: Sequence[float | None] = values, good: Sequence[bool] = good) -> float:
            top = max((v for k in some if (v := values[k]) is not None), default=None)
            tied = [good[k] for k in some if values[k] is not None and values[k] == top]
            return sum(tied) / len(tied) if tied else 0.0

        def random(some: Sequence[int], able: Sequence[bool] = able, good: Sequence[bool] = good) -> float:
            left = [good[k] for k in some if able[k]]
            return sum(left) / len(left) if left else 0.0

        def oracle(some: Sequence[int], able: Sequence[bool] = able, good: Sequence[bool] = good) -> float:
            return float(any(able[k] and good[k] for k in some))

        assert subsets.best(values, good, n) == pytest.approx(enumerated(4, n, best))
        assert subsets.random_one(able, good, n) == pytest.approx(enumerated(4, n, random))
        assert subsets.some_right(able, good, n) == pytest.approx(enumerated(4, n, oracle))


@pytest.mark.parametrize("names", ["aabbc-", "aaabbb", "abcdef", "aabb--", "------", "aaaaab", "abbcc-"])
def test_a_plurality(names: str) -> None:
    """Letters are answers, - is none; a and c are right, of b every other one."""
    right = {"a": 1.0, "b": 0.5, "c": 1.0}
    groups = [(names.count(name), right.get(name, 0.0)) for name in sorted(set(names) - {"-"})]

    def winner(some: Sequence[int]) -> float:
        votes = Counter(names[k] for k in some if names[k] != "-")
        tied = [right.get(name, 0.0) for name, count in votes.items() if count == max(votes.values())]
        return sum(tied) / len(tied) if tied else 0.0

    for n in range(1, 7):
        assert subsets.plurality(groups, 6, n) == pytest.approx(enumerated(6, n, winner))
