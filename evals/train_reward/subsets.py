"""Accuracy of taking one of n samples, exactly: the mean over all subsets of n of a problem's samples, and over ties.

No subset is drawn: each sum is over ranks, counts or sizes of groups (tests/evals/train_reward/test_subsets.py
enumerates the subsets). A sample that cannot be taken, since it was cut, is never right; where no other is among the n,
nothing right is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import comb


def best(values: Sequence[float | None], right: Sequence[bool], n: int) -> float:
    """P(right) of the greatest of n values, ties at random; None of a sample that cannot be taken.

    Σ over the distinct values of (share right among equals) · (C(as great or less, n) − C(less, n)) / C(S, n).
    """
    able = sorted((value, good) for value, good in zip(values, right, strict=True) if value is not None)
    less = len(values) - len(able)
    found = 0.0
    for _, group in groupby(able, lambda one: one[0]):
        goods = [good for _, good in group]
        here = less + len(goods)
        found += sum(goods) / len(goods) * (comb(here, n) - comb(less, n))
        less = here
    return found / comb(len(values), n)


def some_right(able: Sequence[bool], right: Sequence[bool], n: int) -> float:
    """P(a right one among the n), 1 − C(S − right, n) / C(S, n): what an oracle takes."""
    size = len(able)
    good = sum(a and r for a, r in zip(able, right, strict=True))
    return 1 - comb(size - good, n) / comb(size, n)


def random_one(able: Sequence[bool], right: Sequence[bool], n: int) -> float:
    """P(right) of a random one of those of the n that can be taken: the share right among them, where there is one."""
    return best([0.0 if one else None for one in able], right, n)


def plurality(groups: Sequence[tuple[int, float]], size: int, n: int) -> float:
    """P(right) of the answer that most of n samples give, ties at random.

    groups: of equal answers, how many gave it and the share right among them. size: of all samples, those without an
    answer included, which do not vote.
    """
    silent = size - sum(count for count, _ in groups)
    found = 0.0
    for place, (count, share) in enumerate(groups):
        others = [other for k, (other, _) in enumerate(groups) if k != place]
        for votes in range(1, min(count, n) + 1):
            found += share * comb(count, votes) * _at_most(others, votes, silent, n - votes)
    return found / comb(size, n)


def _at_most(others: Sequence[int], votes: int, silent: int, left: int) -> float:
    """Ways to fill `left` places from the other groups and the silent, no group with more than `votes`; with t of them
    that have as many it counts 1 / (1 + t)."""
    ways = Counter({(left, 0): 1})  # (places left, groups that tie) -> ways
    for count in others:
        further: Counter[tuple[int, int]] = Counter()
        for (places, ties), known in ways.items():
            for taken in range(min(count, votes, places) + 1):
                further[places - taken, ties + (taken == votes)] += known * comb(count, taken)
        ways = further
    return sum(known * comb(silent, places) / (1 + ties) for (places, ties), known in ways.items())
