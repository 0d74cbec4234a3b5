"""The gate: by hand on tiny tables, intervals on simulated problems whose truth is known, and how it reads."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from evals.report import stats
from evals.train_reward import subsets
from evals.train_reward.gate import EARLY, MAJORITY, ORACLE, RANDOM, Gate, gates, separation, tables
from evals.train_reward.judged import Judged
from tests.evals.train_reward.made import bank, response


def same(one: Judged, first: str, second: str) -> bool:
    return first == second


def gate_of(judged: list[Judged], **others: list[Judged]) -> Gate:
    (found,) = gates({"learned": judged, **others}, same)
    return found


TINY = [
    response("p", 0, correct=True, scores=(0.2, 0.9)),
    response("p", 1, correct=False, scores=(0.3, 0.4, 0.9, 0.1)),
    response("p", 2, correct=True, finished=False, scores=(0.99,)),
    response("p", 3, correct=False, answer="other", scores=(0.5, 0.6)),
    response("q", 0, correct=True, scores=(0.7, 0.8)),
    response("q", 1, correct=True, scores=(0.6, 0.6)),
    response("q", 2, correct=False, finished=False, scores=()),
    response("q", 3, correct=False, scores=(0.75, 0.1)),
]


def pairs(*views: tuple[list[float], list[float]]) -> float:
    """The share of pairs that the good one wins, in all views together."""
    every = [(1.0 if a > b else 0.5 if a == b else 0.0) for good, bad in views for a in good for b in bad]
    return sum(every) / len(every)


def test_steps_by_hand() -> None:
    found = gate_of(TINY)
    p_good, p_bad, q_good, q_bad = [0.2, 0.9, 0.99], [0.3, 0.4, 0.9, 0.1, 0.5, 0.6], [0.7, 0.8, 0.6, 0.6], [0.75, 0.1]
    whole = found.separations["every step"]["learned"]
    assert whole.overall is not None and whole.within is not None
    assert whole.overall.value == pytest.approx(pairs(([*p_good, *q_good], [*p_bad, *q_bad])))
    assert whole.within.value == pytest.approx(pairs((p_good, p_bad), (q_good, q_bad)))
    early = found.separations[EARLY]["learned"]  # of an odd number the middle step is in no half
    assert early.overall is not None and early.within is not None
    assert early.overall.value == pytest.approx(pairs(([0.2, 0.7, 0.6], [0.3, 0.4, 0.5, 0.75])))
    assert early.within.value == pytest.approx(pairs(([0.2], [0.3, 0.4, 0.5]), ([0.7, 0.6], [0.75])))


def test_choosing_by_hand() -> None:
    """Unfinished samples are never taken: of p 0, 1 and 3 count, of q 0, 1 and 3."""
    found = gate_of(TINY, verifier=[replace(one, scores=tuple(1 - s for s in one.scores)) for one in TINY])

    def mean(rank_p: str, rank_q: str) -> float:
        """ranks: samples from the best to the worst, right ones among them 0 of p, 0 and 1 of q; n = 2 of 4."""
        total = 0.0
        for ranks, right in ((rank_p, "0"), (rank_q, "01")):
            tops = [next((k for k in ranks if k in pair), "-") for pair in combinations("0123", 2)]
            total += sum(top in right for top in tops) / len(tops) / 2
        return total

    value = {who: by_n[2].value for who, by_n in found.accuracies.items()}
    assert value["learned, min"] == pytest.approx(mean("301", "013"))  # .5 .2 .1, and .7 .6 .1
    assert value["learned, last"] == pytest.approx(mean("031", "013"))
    assert value["learned, product"] == pytest.approx(mean("301", "013"))
    assert value["verifier, last"] == pytest.approx(mean("130", "310"))
    random = {"p": [("0", 1.0), ("1", 0.0), ("3", 0.0)], "q": [("0", 1.0), ("1", 1.0), ("3", 0.0)]}
    expected = 0.0
    for goods in map(dict, random.values()):
        for pair in combinations("0123", 2):
            able = [goods[k] for k in pair if k in goods]
            expected += sum(able) / len(able) / 12
    assert value[RANDOM] == pytest.approx(expected) == pytest.approx(value[MAJORITY])  # no two of p agree
    assert value[ORACLE] == pytest.approx((3 + 5) / 12)
    assert found.accuracies["learned, min"][4].value == pytest.approx(0.5)
    assert found.accuracies[MAJORITY][4].value == pytest.approx((1 / 3 + 1) / 2)
    gain = found.gains["learned, min"]
    assert gain[ORACLE].value == pytest.approx(-0.5) and gain["verifier, last"].value == pytest.approx(0.5)
    assert (gain[ORACLE].low, gain[ORACLE].high) == stats.paired_interval([-4.0, 0.0], [4, 4])
    assert list(gain) == [RANDOM, MAJORITY, "verifier, min", "verifier, last", "verifier, product", ORACLE]
    assert (found.problems, found.responses, found.finished) == (2, 8, 6)


def test_each_solver_has_its_own_gate_and_problems_with_too_few_samples_are_left_out() -> None:
    rng = np.random.default_rng(0)
    draft, base = bank(rng, 6, 4), bank(rng, 5, 4, apart=3.0, solver="base")
    found = gates({"learned": [*draft[:-1], *base]}, same)
    assert [one.solver for one in found] == ["draft", "base"]
    assert found[1] == gate_of(base)
    assert [found[0].accuracies[ORACLE][n].clusters for n in (1, 2, 4)] == [6, 6, 5]


def test_intervals_cover_and_those_without_clusters_do_not() -> None:
    rng, repeats, apart = np.random.default_rng(3), 150, 1.0
    truth = float(scipy_stats.norm.cdf(apart / np.sqrt(2 * (0.25 + 0.36))))
    covered = naive = 0
    for _ in range(repeats):
        within = separation(bank(rng, 25, 6, apart=apart), lambda one: one.scores).within
        assert within is not None
        covered += within.low <= truth <= within.high
        low, high = stats.wilson(within.value, within.rows)
        naive += low <= truth <= high
    assert 0.91 <= covered / repeats <= 0.98
    assert naive / repeats < 0.8


def test_the_interval_of_a_gain_covers() -> None:
    """Of the best of 2 of 4 samples over one of them: problems of Beta(1.5, 1.5) ease, scores 1 apart with noise 1."""
    repeats, problems, truth = 600, 40, float(scipy_stats.norm.cdf(np.sqrt(0.5)) - 0.5) * 2 * (0.25 - 1 / 16)
    rng, covered = np.random.default_rng(4), 0
    for _ in range(repeats):
        right = rng.random((problems, 4)) < rng.beta(1.5, 1.5, (problems, 1))
        scores = right + rng.normal(0, 1, right.shape)
        ahead = [
            4 * (subsets.best(s, r, 2) - float(np.mean(r)))
            for s, r in zip(scores.tolist(), right.tolist(), strict=True)
        ]
        low, high = stats.paired_interval(ahead, [4] * problems)
        covered += low <= truth <= high
    assert 0.93 <= covered / repeats <= 0.98


def test_how_it_reads() -> None:
    rng = np.random.default_rng(6)
    good, blind = bank(rng, 40, 4, apart=3.0), bank(rng, 40, 4, apart=0.0)
    assert gate_of(good).verdict == (
        "draft: learned tells early steps of one problem apart, and gains by learned, min and learned, last and "
        "learned, product over a random finished sample."
    )
    assert "is not seen to tell early steps" in gate_of(blind).verdict
    assert "is not seen to gain over" in gate_of(blind).verdict
    steps, chosen, gains = tables(gate_of(good))
    assert steps.title == "draft: 160 samples of 40 problems, 160 finished; AUROC over steps"
    assert list(chosen.columns) == ["chosen by", "n = 1", "n = 2", "n = 4"] and len(chosen.rows) == 6
    assert list(gains.columns[1:]) == [RANDOM, MAJORITY, ORACLE] and "[+0." in gains.rows[0][1]
    none = gate_of([replace(one, correct=False, answer="a") for one in good])
    assert tables(none)[0].rows[0][2:] == ["–", "–"] and none.accuracies[ORACLE][4].value == 0.0
