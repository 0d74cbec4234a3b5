"""The certified bound of tempered log-probabilities against the exact softmax of random logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi_node.errors import InvalidLogProb, LawMismatch
from gsi_node.models.servers import tempered as module
from gsi_node.models.servers.tempered import TopK, tempered, tempered_sum


def log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits.max()
    return np.asarray(logits - top - np.log(np.exp(logits - top).sum()))


def token(log_p: np.ndarray, chosen: int, k: int) -> TopK:
    """What a server lists: the k most likely tokens, and the chosen one."""
    top = np.argsort(-log_p, kind="stable")[:k]
    return TopK(chosen, {int(i): float(log_p[i]) for i in (*top, chosen)})


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(2, 400),
    k=st.integers(1, 40),
    spread=st.floats(0.0, 8.0),
    temperature=st.floats(0.05, 1.0),
)
def test_the_exact_value_lies_within_the_bound(seed: int, size: int, k: int, spread: float, temperature: float) -> None:
    random = np.random.default_rng(seed)
    log_p = log_softmax(random.normal(0.0, spread, size))
    exact = log_softmax(log_p / temperature)
    for chosen in {int(random.integers(size)), int(log_p.argmax()), int(log_p.argmin())}:
        found = tempered(token(log_p, chosen, k), k, temperature)
        assert abs(found.log_prob - exact[chosen]) <= found.error + 1e-9


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(2, 60),
    k=st.integers(0, 12),
    spread=st.floats(0.0, 8.0),
    temperature=st.floats(0.05, 1.0),
)
def test_whatever_ids_are_listed(seed: int, size: int, k: int, spread: float, temperature: float) -> None:
    """Of ids that were asked for, none need be likely; a bound by the least of them would exclude the truth."""
    random = np.random.default_rng(seed)
    log_p = log_softmax(random.normal(0.0, spread, size))
    chosen, others = int(random.integers(size)), random.permutation(size)[:k]
    listed = TopK(chosen, {int(i): float(log_p[i]) for i in (chosen, *others)})
    found = tempered(listed, None, temperature)
    assert abs(found.log_prob - log_softmax(log_p / temperature)[chosen]) <= found.error + 1e-9


def test_a_rank_is_claimed_of_the_most_likely_alone() -> None:
    log_p = np.log(np.array([0.9, 0.05, 0.03, 0.02]))
    listed = TopK(2, {2: float(log_p[2]), 3: float(log_p[3])})
    exact = log_softmax(log_p / 0.5)[2]
    found, wrong = tempered(listed, None, 0.5), tempered(listed, 2, 0.5)
    assert abs(found.log_prob - exact) <= found.error < abs(wrong.log_prob - exact) + found.error
    assert abs(wrong.log_prob - exact) > wrong.error


@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.2, 0.95))
def test_float32_numbers_stay_within_the_bound(seed: int, temperature: float) -> None:
    random = np.random.default_rng(seed)
    log_p = log_softmax(random.normal(0.0, 3.0, 500))
    exact = log_softmax(log_p / temperature)
    rounded = log_p.astype(np.float32).astype(np.float64)
    chosen = int(random.integers(500))
    found = tempered(token(rounded, chosen, 20), 20, temperature)
    assert abs(found.log_prob - exact[chosen]) <= found.error + 1e-5  # the token's own rounding, times 1/T


def test_the_bound_shrinks_with_k_and_vanishes_at_temperature_1() -> None:
    log_p = log_softmax(np.random.default_rng(1).normal(0.0, 3.0, 1000))
    errors = [tempered(token(log_p, 5, k), k, 0.7).error for k in (1, 5, 20, 100, 1000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1 and errors[-1] < 1e-3
    assert tempered(token(log_p, 5, 1), 1, 1.0) == (log_p[5], 0.0)


def test_the_rank_matters_the_chosen_token_is_not_the_kth() -> None:
    """A bound that took the chosen token, listed beyond rank k, for the k-th would exclude the truth."""
    log_p = np.log(np.array([0.4, *[0.0199] * 30, 0.003]))
    log_p = log_softmax(log_p)
    exact = log_softmax(log_p / 0.5)[-1]
    found = tempered(token(log_p, 31, 2), 2, 0.5)
    assert abs(found.log_prob - exact) <= found.error
    wrong = tempered(token(log_p, 31, 2), 3, 0.5)  # k + 1: the chosen token read as the third
    assert abs(wrong.log_prob - exact) > wrong.error


def test_a_zero_probability_is_minus_infinity_exactly() -> None:
    assert tempered(TopK(7, {1: math.log(0.5), 2: math.log(0.5), 7: -math.inf}), 2, 0.5) == (-math.inf, 0.0)
    assert tempered_sum([TopK(7, {7: -math.inf})], 1, 1.0).log_prob == -math.inf


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1.0001, math.inf, math.nan])
def test_other_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(LawMismatch, match="0 < temperature ≤ 1"):
        tempered(TopK(1, {1: -0.1}), 1, temperature)


@pytest.mark.parametrize(
    ("listed", "k", "words"),
    [
        ({1: math.log(0.9), 2: math.log(0.9)}, 2, "more than 1"),
        ({1: math.log(0.5)}, 20, "20 most likely"),
        ({1: math.log(0.5), 2: -3.0, 3: -4.0, 4: -5.0}, 2, "2 most likely"),
        ({1: math.log(0.5), 2: -3.0, 3: -4.0}, 2, "beyond rank 2"),
    ],
)
def test_a_list_that_is_not_the_top_k_is_refused(listed: dict[int, float], k: int, words: str) -> None:
    with pytest.raises(InvalidLogProb, match=words):
        tempered(TopK(1, listed), k, 0.7)


def test_the_step_sums_values_and_bounds() -> None:
    log_p = log_softmax(np.random.default_rng(2).normal(0.0, 2.0, 100))
    tokens = [token(log_p, i, 20) for i in (3, 50, 99)]
    parts = [tempered(each, 20, 0.7) for each in tokens]
    whole = module.tempered_sum(tokens, 20, 0.7)
    assert whole.log_prob == pytest.approx(sum(p.log_prob for p in parts), abs=1e-12)
    assert whole.error == pytest.approx(sum(p.error for p in parts), abs=1e-15)
