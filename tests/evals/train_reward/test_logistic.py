"""The fit of a head: the minimum of what its docstring says, and the choice of layers and C."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evals.train_reward.choosing import STRENGTHS, choose
from evals.train_reward.examples import Examples, LabelledSteps
from evals.train_reward.logistic import log_loss, logistic
from gsi_node.errors import ConfigError


def made(count: int, width: int, seed: int) -> tuple[Any, Any, Any]:
    """Features far from the origin, soft targets and uneven weights."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, width)) * rng.uniform(0.2, 3, width) + rng.normal(0, 20, width)
    return features, rng.uniform(size=count), rng.uniform(0.1, 2, count)


def objective(theta: Any, features: Any, targets: Any, weights: Any, strength: float) -> float:
    """½·|v|² − C · Σ_i w_i · [y_i log p_i + (1 − y_i) log(1 − p_i)], as a likelihood writes it."""
    logits = features @ theta[:-1] + theta[-1]
    log_p, log_q = -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits))
    likelihood = weights @ (targets * log_p + (1 - targets) * log_q)
    return float(theta[:-1] @ theta[:-1] / 2 - strength * likelihood)


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
def test_no_step_in_any_direction_lowers_the_objective(strength: float) -> None:
    features, targets, weights = made(60, 4, seed=1)
    theta = logistic(features, targets, weights, strength, np.zeros(5))
    here = objective(theta, features, targets, weights, strength)
    scale = np.append(np.ones(4), 20.0)
    directions = [*np.eye(5), *np.random.default_rng(2).normal(size=(40, 5))]
    for direction in directions:
        for size in (0.02, -0.02):
            there = objective(theta + size * direction / scale, features, targets, weights, strength)
            assert there > here  # convex: a minimum in every direction is the minimum


def test_the_bias_carries_no_penalty_and_a_start_changes_nothing() -> None:
    features, targets, weights = made(60, 4, seed=3)
    theta = logistic(features, targets, weights, 0.5, np.zeros(5))
    shifted = logistic(features + 100, targets, weights, 0.5, np.zeros(5))
    assert shifted[:-1] == pytest.approx(theta[:-1], abs=1e-4)
    warm = logistic(features, targets, weights, 0.5, theta + 1)
    assert warm == pytest.approx(theta, abs=1e-3)


def test_without_a_bias_there_is_none_and_nothing_is_centred() -> None:
    features, targets, weights = made(60, 4, seed=6)
    features -= 18
    theta = logistic(features, targets, weights, 0.5, np.full(5, 3.0), bias=False)
    assert theta[4] == 0
    here = objective(theta, features, targets, weights, 0.5)
    for direction in [*np.eye(4), *np.random.default_rng(7).normal(size=(40, 4))]:
        for size in (0.02, -0.02):
            assert objective(theta + size * np.append(direction, 0), features, targets, weights, 0.5) > here


def test_log_loss_by_hand() -> None:
    found = log_loss(np.asarray([0.0, np.log(3)]), np.asarray([1.0, 0.0]), np.asarray([1.0, 3.0]))
    assert found == pytest.approx((np.log(2) + 3 * np.log(4)) / 4)


def steps_of(count: int, templates: int, rng: Any) -> LabelledSteps:
    outcomes = (rng.uniform(size=count) < 0.5).astype(np.float64)
    names = [f"t{i % templates}" for i in range(count)]
    return labelled(outcomes, names)


def labelled(outcomes: Any, names: list[str]) -> LabelledSteps:
    """Of responses of one step."""
    count = len(outcomes)
    return LabelledSteps(outcomes, names, Examples(np.arange(count), None, outcomes, np.ones(count)))


def test_it_chooses_the_layers_that_know() -> None:
    rng = np.random.default_rng(4)
    steps = steps_of(400, 10, rng)
    noise = {layers: rng.normal(size=(400, 5)) for layers in (2, 4, 6)}
    noise[4][:, 0] += 1.5 * (2 * steps.outcomes - 1)
    calls: list[None] = []
    tried, best, head = choose([2, 4, 6], noise.__getitem__, steps, 0, lambda: calls.append(None))
    assert best.layers == 4
    assert best.auroc > 0.9
    assert head[0] > 0.5 > abs(head[1:5]).max()
    assert len(calls) == len(tried) == 3 * len(STRENGTHS)
    assert best.log_loss == min(one.log_loss for one in tried)


def test_a_template_is_never_held_out_in_part() -> None:
    """Every template has its own coin for a label and a feature of its own: what is learned of it elsewhere is
    worthless, unless a fold knows its other half."""
    rng = np.random.default_rng(5)
    names = [f"t{i // 20}" for i in range(400)]
    labels = np.repeat((rng.uniform(size=20) < 0.5).astype(np.float64), 20)
    features = np.eye(20)[np.arange(400) // 20] * 3
    steps = labelled(labels, names)
    _, best, _ = choose([1], lambda layers: features, steps, 0, lambda: None)
    assert best.log_loss > 0.65  # a fold of halves reaches .02


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_responses_that_are_all_alike_are_refused(outcome: float) -> None:
    steps = labelled(np.full(8, outcome), list("abcdefgh"))
    with pytest.raises(ConfigError, match=f"every response of the fit split is {'right' if outcome else 'wrong'}"):
        choose([1], lambda layers: np.ones((8, 2)), steps, 0, lambda: None)
