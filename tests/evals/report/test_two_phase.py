"""Estimates from a design: unbiased by enumeration of all that may be drawn, intervals that cover, an exact test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pytest

from evals.campaign.draw import RIGHT, UNDECIDED, WRONG
from evals.report import stats, two_phase
from evals.run.design import Design, Stratum
from gsi_node.errors import ConfigError
from gsi_node.types import Array


def design(sizes: dict[str, int], chosen: Mapping[str, Sequence[str]]) -> Design:
    return Design(
        data="made",
        problems=sum(sizes.values()),
        problems_digest="-",
        samples=8,
        share=0.1,
        seed=0,
        strata=[Stratum(name=name, size=size, chosen=list(chosen[name])) for name, size in sizes.items() if size],
        n=4,
        primary=[("gsi", "rsd-n")],
    )


KINDS = ((UNDECIDED, 1.0, 0.3), (UNDECIDED, -1.0, 0.2), (RIGHT, 0.0, 0.3), (RIGHT, 1.0, 0.1), (WRONG, -1.0, 0.1))
"""Problems of a small world: their stratum, their value, their probability."""


@pytest.mark.parametrize("drawn", [lambda size: min(size, 2), lambda size: 1 + (size > 2)])
def test_mean_and_variance_are_unbiased_over_all_sets_and_draws(drawn: object) -> None:
    """Every set of four problems of the world, and every draw of the decided ones of it."""
    assert callable(drawn)
    truth = sum(value * chance for _, value, chance in KINDS)
    first = second = variance = 0.0
    for problems in product(KINDS, repeat=4):
        chance = float(np.prod([one[2] for one in problems]))
        members = {name: [i for i, one in enumerate(problems) if one[0] == name] for name in (UNDECIDED, RIGHT, WRONG)}
        sizes = {name: len(ids) for name, ids in members.items()}
        ways = [
            list(combinations(ids, len(ids) if name == UNDECIDED else drawn(len(ids)))) if ids else [()]
            for name, ids in members.items()
        ]
        for pick in product(*ways):
            chosen = dict(zip(members, ([str(i) for i in ids] for ids in pick), strict=True))
            strata = two_phase.strata_of(
                design(sizes, chosen), {str(i): (int(one[1]), 1) for i, one in enumerate(problems)}
            )
            value, terms = two_phase.mean_and_variances(strata)
            share = chance / np.prod([len(way) for way in ways])
            first, second = first + share * value, second + share * value**2
            variance += share * float(terms.sum())
    assert first == pytest.approx(truth, abs=1e-12)
    if drawn(2) == 2:  # no stratum of several problems is known by one alone: its spread is estimated
        assert variance == pytest.approx(second - first**2, abs=1e-12)
    else:
        assert variance < second - first**2


def world(rng: np.random.Generator, size: int, gap: float) -> tuple[Array, Array, Array]:
    """Chances of being right, of the bank and of two methods, on problems that differ much; on the decided ones too."""
    hard = rng.normal(1.8, 2.2, size)
    first, second = (hard + rng.normal(0, 1.5, size) for _ in range(2))
    bank, first, second = (1 / (1 + np.exp(-one)) for one in (hard - 0.5, first, second - gap))
    return bank, first, second


def drawn_by_a_bank(rng: np.random.Generator, chances: Array, share: float) -> Design:
    bank = rng.binomial(8, chances)
    names = np.where(bank == 0, WRONG, np.where(bank == 8, RIGHT, UNDECIDED))
    sizes, chosen = {}, {}
    for name in (UNDECIDED, RIGHT, WRONG):
        ids = np.flatnonzero(names == name)
        few = ids if name == UNDECIDED else rng.permutation(ids)[: max(2, int(np.ceil(share * len(ids))))]
        sizes[name], chosen[name] = len(ids), [str(i) for i in few]
    return design(sizes, chosen)


@pytest.mark.parametrize(("size", "share", "gap"), [(240, 0.1, 0.0), (240, 0.1, 1.5), (100, 0.2, 0.8)])
def test_intervals_cover_and_those_of_the_drawn_problems_alone_do_not(size: int, share: float, gap: float) -> None:
    rng, repeats = np.random.default_rng([size, int(100 * gap)]), 400
    _, *many = world(np.random.default_rng(7), 400_000, gap)
    truth, apart = float(many[0].mean()), float((many[0] - many[1]).mean())
    covered, alone, rejected = np.zeros(2), np.zeros(2), 0
    for _ in range(repeats):
        bank, first, second = world(rng, size, gap)
        plan = drawn_by_a_bank(rng, bank, share)
        x, y = rng.random(size) < first, rng.random(size) < second
        right = {id: (int(x[int(id)]), 1) for id in plan.weights}
        won = {id: (int(x[int(id)]) - int(y[int(id)]), 1) for id in plan.weights}
        found, between = two_phase.share(plan, right), two_phase.difference(plan, won)
        covered += found.low <= truth <= found.high, between.low <= apart <= between.high
        rejected += between.p_value <= 0.05
        naive = stats.proportion([a for a, _ in right.values()], [1] * len(right))
        pairs = stats.paired_difference([d for d, _ in won.values()], [1] * len(won))
        alone += naive.low <= truth <= naive.high, pairs.low <= apart <= pairs.high
    assert all(0.935 <= one <= 0.985 for one in covered / repeats)
    assert alone[0] / repeats < 0.91 and (gap < 1 or alone.max() / repeats < 0.92)
    if gap == 0:
        assert rejected / repeats <= 0.06


def test_the_test_is_that_of_all_signs() -> None:
    sizes, values = (
        {UNDECIDED: 5, RIGHT: 30, WRONG: 12},
        {UNDECIDED: [1, 1, -1, 0, 1], RIGHT: [0, 1, 1], WRONG: [-1, 0]},
    )
    chosen = {name: [f"{name}{i}" for i in range(len(of))] for name, of in values.items()}
    won = {id: (d, 1) for name, of in values.items() for id, d in zip(chosen[name], of, strict=True)}
    plan = design(sizes, chosen)
    weighed = [plan.weights[id] * d for id, (d, _) in won.items()]
    signs = np.array(list(product((-1, 1), repeat=len(weighed))))
    p = float((np.abs(signs @ weighed) >= abs(sum(weighed)) - 1e-9).mean())
    found = two_phase.difference(plan, won)
    assert found.p_value == pytest.approx(p, abs=1e-12) and 0 < p < 1
    assert found.value == pytest.approx(sum(weighed) / 47)
    assert (found.better, found.worse, found.problems, found.rows) == (5, 2, 10, 10)


def test_of_a_set_that_is_solved_whole_it_is_the_plain_estimate() -> None:
    rng = np.random.default_rng(3)
    won = {str(i): (int(d), 3) for i, d in enumerate(rng.integers(-3, 4, 40))}
    plan = design({UNDECIDED: 40}, {UNDECIDED: list(won)})
    found, plain = two_phase.difference(plan, won), stats.paired_difference(*zip(*won.values(), strict=True))
    assert (found.value, found.p_value) == pytest.approx((plain.value, plain.p_value))
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_nothing_is_said_of_a_stratum_without_a_row() -> None:
    plan = design({UNDECIDED: 2, RIGHT: 9}, {UNDECIDED: ["a", "b"], RIGHT: ["c", "d"]})
    with pytest.raises(ConfigError, match="all right in the bank is graded yet"):
        two_phase.share(plan, {"a": (1, 1), "b": (0, 1)})
    assert two_phase.share(plan, {"a": (1, 1), "b": (0, 1), "c": (1, 1)}).value == pytest.approx((0.5 * 2 + 9) / 11)
