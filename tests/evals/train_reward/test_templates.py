"""Splits that keep problems of one kind together."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from evals.data.problems import Problem
from evals.train_reward.templates import SHARES, SplitProblems, spread
from gsi_node.errors import ConfigError

KINDS = [
    "{0} picks {1} apples and {2} pears. How many fruits does {0} have?",
    "A train needs {1} hours for {2} miles. How fast does it go?",
    "{0} sells {1} tickets at {2} dollars each. What do the tickets bring in together?",
    "Each of {1} boxes holds {2} pencils. How many pencils are in all the boxes?",
    "The garden of {0} is {1} feet long and {2} feet wide. How long is its fence?",
    "{0} reads {1} pages a day. After how many days has {0} read {2} pages?",
]


def problems(kinds: int, each: int) -> list[Problem]:
    names = itertools.cycle(["Ann", "Bo", "Carlos", "Dee"])
    return [
        Problem(f"{kind}-{i}", KINDS[kind].format(next(names), 3 + i, 5 * i + 2), "1", "math")
        for i in range(each)
        for kind in range(kinds)
    ]


def test_problems_of_one_kind_are_in_one_split_and_no_split_is_empty() -> None:
    given = SplitProblems.of(problems(6, 5), seed=0)
    kinds = {one.id: one.id.partition("-")[0] for one in given.problems}
    assert len(set(given.template.values())) == 6
    assert len({(kinds[id], name) for id, name in given.template.items()}) == 6
    assert len({(kinds[id], part) for id, part in given.split.items()}) == 6  # no kind is in two
    assert Counter(given.split.values()).keys() == SHARES.keys()
    assert len(given.within("fit")) == 20
    assert len(given.within("calibrate", "gate")) == 10


def test_the_seed_draws_the_splits() -> None:
    found = {tuple(sorted(SplitProblems.of(problems(6, 4), seed).split.items())) for seed in range(8)}
    assert len(found) > 1
    assert SplitProblems.of(problems(6, 4), 3) == SplitProblems.of(problems(6, 4), 3)


def test_parts_come_near_their_shares() -> None:
    sizes = {str(i): 1 + i % 7 for i in range(60)}
    parts = spread(sizes, [0.6, 0.2, 0.2], seed=0)
    have = Counter[int]()
    for name, part in parts.items():
        have[part] += sizes[name]
    total = sum(sizes.values())
    assert all(abs(have[part] - share * total) <= 1.5 for part, share in enumerate([0.6, 0.2, 0.2]))


def test_too_few_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="the problems are of 4 kinds, .*--data again"):
        SplitProblems.of(problems(4, 5), seed=0)
