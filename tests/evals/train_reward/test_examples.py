"""What a head is fitted to: labels step by step, or pairs of steps of one problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evals.data.problems import Problem
from evals.report.stats import auroc
from evals.train_reward.choosing import choose
from evals.train_reward.examples import in_pairs, one_by_one
from evals.train_reward.sampling import Sample
from gsi_node.errors import ConfigError


def sample(problem: str, number: int, correct: bool, steps: int, template: str = "t", solver: str = "base") -> Sample:
    texts = tuple(f"step {place}" for place in range(steps))
    return Sample(Problem(problem, "?", "7", "math"), template, solver, number, texts, correct, True, "7", None)


SAMPLES = [
    sample("p", 0, True, 2),  # steps 0, 1
    sample("p", 1, False, 3),  # 2, 3, 4
    sample("q", 0, True, 1),  # 5: no wrong response
    sample("r", 0, False, 1),  # 6
    sample("r", 1, True, 2),  # 7, 8
    sample("p", 2, False, 1),  # 9
    sample("q", 0, False, 2, solver="draft"),  # 10, 11: another solver's
]


def test_each_step_of_a_right_response_is_paired_with_the_one_at_its_place_of_each_wrong_one() -> None:
    steps = in_pairs(SAMPLES)
    found = steps.examples
    assert found.second is not None
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 2), (1, 3), (0, 9), (7, 6)]
    assert found.weights.tolist() == [1.0, 1.0, 1.0, 2.0]  # 3 responses in 3 pairs, 2 in one
    assert found.targets.tolist() == [1.0] * 4
    assert steps.outcomes.tolist() == [1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0]
    values = np.arange(12.0) ** 2
    assert found.of(values).tolist() == [-4, -8, -81, 13]
    kept = np.ones(12, dtype=bool)
    kept[[6, 7, 8]] = False
    assert found.within(kept).of(values).tolist() == [-4, -8, -81]
    assert found.within(kept).weights.tolist() == [1, 1, 1]


def test_one_by_one_each_has_its_label_and_a_response_weighs_one() -> None:
    steps = one_by_one(SAMPLES[:2], {SAMPLES[0].key: (0.25, 1.0), SAMPLES[1].key: (0.5, 0.5, 0.0)})
    assert steps.examples.targets.tolist() == [0.25, 1.0, 0.5, 0.5, 0.0]
    assert steps.examples.weights == pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    assert steps.examples.bias
    assert not in_pairs(SAMPLES).examples.bias
    values = np.asarray([3.0, 1, 4, 1, 5])
    assert steps.examples.of(values).tolist() == values.tolist()
    assert steps.examples.within(values > 2).targets.tolist() == [0.25, 0.5, 0.0]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ConfigError, match="no solver has right and wrong responses to a problem of the fit split"):
        in_pairs([sample("p", 0, True, 2), sample("q", 0, False, 2)])


def test_pairs_find_what_tells_apart_within_problems_where_labels_find_what_tells_problems_apart() -> None:
    """One feature says how easy a problem is, which decides most outcomes; another, weaker, which response is right."""
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    rows: list[Any] = []
    for k in range(150):
        ease = rng.choice([-2.0, 2.0])
        for number in range(4):
            correct = bool(rng.random() < 1 / (1 + np.exp(-ease)))
            samples.append(sample(f"p{k}", number, correct, 1, f"t{k % 10}"))
            rows.append([ease + rng.normal(), 0.5 * (2 * correct - 1) + rng.normal()])
    features = np.asarray(rows)
    heads = []
    for steps in (one_by_one(samples, {one.key: (float(one.correct),) for one in samples}), in_pairs(samples)):
        _, best, head = choose([1], lambda _: features, steps, 0, lambda: None)
        assert best.log_loss < 0.65
        heads.append(head)
    of_labels, of_pairs = heads
    assert of_labels[0] > of_labels[1]
    assert of_pairs[1] > 4 * abs(of_pairs[0])
    outcomes = [one.correct for one in samples]
    by_pairs, by_labels = (auroc(features @ head[:-1], outcomes) for head in (of_pairs, of_labels))
    assert by_pairs is not None
    assert by_labels is not None
    assert by_pairs < by_labels - 0.03  # over all steps the labels' is the better: what is wanted decides
