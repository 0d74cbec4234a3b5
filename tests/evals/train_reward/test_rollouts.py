"""Labels by rollouts: the share of right continuations, made once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from evals.data.problems import Problem
from evals.run.provenance import here_and_now
from evals.train_reward.recipe import Recipe
from evals.train_reward.rollouts import ROLLOUTS, outcomes, rolled_out
from evals.train_reward.sampling import Sample
from gsi_node.tables.models import TableModel
from gsi_node.types import Prefix

RIGHT = {"": 0.5, "good\n\n": 0.9, "bad\n\n": 0.2, "good\n\nbad\n\n": 0.4}
"""P(the answer is 7) behind the steps so far."""


def table(prefix: Prefix) -> dict[str, float]:
    p = RIGHT[prefix.text]
    return {r"so \boxed{7}": p, r"so \boxed{8}": 1 - p}


def recipe(rollouts: int) -> Recipe:
    return Recipe(
        model="pocket:base",
        solvers=["pocket:base"],
        data=["made"],
        limit=None,
        data_seed=0,
        problems_digest="0",
        samples=1,
        ratios=False,
        rollouts=rollouts,
        pairs=False,
        layers=[1],
        seed=0,
        fields={},
        made=here_and_now(),
    )


def sample(number: int, correct: bool, *steps: str) -> Sample:
    return Sample(Problem("p", "How much?", "7", "math"), "t", "base", number, steps, correct, True, "7", None)


SAMPLES = [sample(0, True, "good\n\n", "bad\n\n", r"so \boxed{7}"), sample(1, False, "bad\n\n", r"so \boxed{8}")]


def test_a_label_is_the_share_of_right_continuations_and_the_last_the_outcome(tmp_path: Path) -> None:
    count = 150
    labels = rolled_out(recipe(count), SAMPLES, tmp_path, 4, lambda: TableModel(table))
    first, second = (labels[one.key] for one in SAMPLES)
    assert (first[-1], second[-1]) == (1.0, 0.0)
    for found, p in zip((*first[:-1], second[0]), (0.9, 0.4, 0.2), strict=True):
        assert abs(found - p) < 4 * math.sqrt(p * (1 - p) / count)


def test_what_is_rolled_out_is_not_rolled_out_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def load() -> Any:
        asked.append(1)
        return TableModel(table)

    first = rolled_out(recipe(3), SAMPLES[:1], tmp_path, 2, load)
    with (tmp_path / ROLLOUTS).open("ab") as file:
        file.write(b'{"schema": 2, "key"')  # what a kill leaves
    both = rolled_out(recipe(3), SAMPLES, tmp_path, 2, load)
    assert both[SAMPLES[0].key] == first[SAMPLES[0].key]
    assert rolled_out(recipe(3), SAMPLES, tmp_path, 2, load) == both
    assert len(asked) == 2
    (tmp_path / "other").mkdir()
    whole = rolled_out(recipe(3), SAMPLES, tmp_path / "other", 2, load)
    assert whole == both  # the streams are named by response, step and turn alone


def test_outcomes_label_every_step() -> None:
    assert outcomes(SAMPLES) == {SAMPLES[0].key: (1.0, 1.0, 1.0), SAMPLES[1].key: (0.0, 0.0)}
