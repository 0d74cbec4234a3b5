"""Closed forms, enumeration and hand-worked numbers for evals/report/stats.py, with statsmodels as a further oracle."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from evals.report import stats

signs = st.lists(st.integers(-1, 1), min_size=1, max_size=40)


@pytest.mark.parametrize(("right", "total"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (431, 500)])
def test_wilson_is_that_of_statsmodels(right: int, total: int) -> None:
    low, high = proportion_confint(right, total, alpha=0.05, method="wilson")
    found = stats.proportion([1] * right + [0] * (total - right), [1] * total)
    assert (found.low, found.high) == pytest.approx((max(0.0, low), min(1.0, high)), abs=1e-12)
    assert (found.value, found.clusters, found.rows) == (right / total, total, total)


def test_wilson_by_hand() -> None:
    """p = 1/2, n = 10: centre 1/2, half width q √(1/40 + q²/400) / (1 + q²/10)."""
    q = 1.959963984540054
    half = q * math.sqrt(1 / 40 + q * q / 400) / (1 + q * q / 10)
    assert stats.wilson(0.5, 10) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-12)


def test_ratio_is_the_clustered_standard_error_by_hand() -> None:
    """Clusters (2 of 2), (1 of 2), (0 of 1): R = 3/5; residuals 4/5, −1/5, −3/5; Var = 3/2 · 26/25 / 25."""
    value, se = stats.ratio([2, 1, 0], [2, 2, 1])
    assert value == pytest.approx(0.6)
    assert se == pytest.approx(math.sqrt(1.5 * 26 / 25 / 25))


def test_seeds_that_always_agree_count_once() -> None:
    """Three copies of one draw a problem hold no more than the draw itself: the interval is not that of three times."""
    outcomes = np.array([1] * 70 + [0] * 30)
    thrice = stats.proportion(3 * outcomes, np.full(100, 3))
    once = stats.proportion(outcomes, np.ones(100))
    naive = stats.wilson(0.7, 300)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.03)
    assert naive[1] - naive[0] < 0.6 * (thrice.high - thrice.low)


@pytest.mark.parametrize("value", [0, 1])
def test_all_wrong_and_all_right_have_an_interval_as_wide_as_the_problems_allow(value: int) -> None:
    found = stats.proportion(np.full(20, 3 * value), np.full(20, 3))
    assert found.value == value
    assert 0.1 < found.high - found.low < 0.25
    assert pytest.approx(value, abs=1e-12) in (found.low, found.high)


def test_one_row_says_almost_nothing() -> None:
    assert stats.proportion([1], [1]).low == pytest.approx(0.2065, abs=1e-3)
    several = stats.proportion([2], [3])
    assert several.low < 0.15 and several.high > 0.95
    assert stats.mean([3.0], [2]).high == math.inf


def test_mean_with_equal_counts_is_students_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    found = stats.mean(values, np.ones(4))
    half = 3.182446 * values.std(ddof=1) / 2
    assert (found.value, found.low, found.high) == pytest.approx((3.5, 3.5 - half, 3.5 + half), abs=1e-5)


def test_bonett_and_price_by_hand() -> None:
    """n = 20 pairs, 6 won and 2 lost: (7 − 3)/22 ± q √((10/22) − (4/22)²) / √22."""
    d = [1] * 6 + [-1] * 2 + [0] * 12
    found = stats.paired_difference(d, [1] * 20)
    half = 1.959963984540054 * math.sqrt(10 / 22 - (4 / 22) ** 2) / math.sqrt(22)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((4 / 22 - half, 4 / 22 + half), abs=1e-12)
    assert (found.better, found.worse, found.problems) == (6, 2, 20)


def test_equal_methods_still_have_an_interval() -> None:
    found = stats.paired_difference([0] * 30, [1] * 30)
    assert found.low < 0 < found.high and found.p_value == 1.0


@given(signs)
def test_with_one_seed_the_sign_flip_test_is_mcnemars_exact_test(d: list[int]) -> None:
    won, lost = d.count(1), d.count(-1)
    table = [[len(d) - won - lost, won], [lost, 0]]
    oracle = mcnemar(table, exact=True).pvalue if won + lost else 1.0
    assert stats.sign_flip_p(d) == pytest.approx(min(1.0, oracle), abs=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_sign_flip_test_is_the_enumeration_of_all_flips(d: list[int]) -> None:
    sums = [abs(sum(s * v for s, v in zip(flips, d, strict=True))) for flips in product((-1, 1), repeat=len(d))]
    assert stats.sign_flip_p(d) == pytest.approx(sum(s >= abs(sum(d)) for s in sums) / len(sums), abs=1e-12)


def test_holm_by_hand() -> None:
    """0.01·4, 0.02·3, max(0.06, 0.03·2), max(…, 0.04): the published step-down procedure, in the given order."""
    assert stats.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([]) == []


def closed(p: list[float]) -> list[float]:
    """Closed testing with Bonferroni's test: hypothesis i is rejected at level a where every set of hypotheses that
    holds it is, a set K where |K| · min p ≤ a (Marcus, Peritz and Gabriel 1976). The least such a, by all subsets."""
    sets = [s for size in range(1, len(p) + 1) for s in combinations(range(len(p)), size)]
    return [max(min(1.0, len(s) * min(p[k] for k in s)) for s in sets if i in s) for i in range(len(p))]


@given(st.lists(st.sampled_from([0.0, 1e-5, 0.003, 0.01, 0.02, 0.05, 0.2, 0.5, 1.0]) | st.floats(0, 1), max_size=7))
def test_holm_is_the_closed_test(p: list[float]) -> None:
    assert stats.holm(p) == pytest.approx(closed(p), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25))
def test_auroc_is_the_share_of_pairs_in_order(judged: list[tuple[int, bool]]) -> None:
    good, bad = ([s for s, label in judged if label is wanted] for wanted in (True, False))
    pairs = [(g > b) + (g == b) / 2 for g in good for b in bad]
    found = stats.auroc([s for s, _ in judged], [label for _, label in judged])
    if not pairs:
        assert found is None
        return
    assert found == pytest.approx(sum(pairs) / len(pairs))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_the_pareto_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    costs, values = [c for c, _ in points], [v for _, v in points]
    front = {(costs[i], values[i]) for i in stats.pareto(costs, values)}
    beaten = {p for p in points for q in points if q != p and q[0] <= p[0] and q[1] >= p[1]}
    assert front == set(points) - beaten


def test_quantiles_leave_out_infinities() -> None:
    found = stats.quantiles([1.0, -math.inf, 3.0])
    assert found is not None and (found.p50, found.count) == (2.0, 2.0)
    assert stats.quantiles([math.nan]) is None
