"""Labels of steps: the outcome of their response, or how often the base gets to the right answer from there.

Rollouts are Math-Shepherd's soft estimation (arXiv 2312.08935): of R continuations behind a step the share that is
right. The last step of a response has its outcome.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

from evals.graders.grading import Grader
from evals.rows.appender import Appender
from evals.rows.lines import lines_of
from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.run.progress import RunMeter
from evals.train_reward.recipe import Recipe
from evals.train_reward.sampling import ResponseKey, Sample
from gsi_node.protocols import StepModel, close
from gsi_node.step.context import Models
from gsi_node.step.layers import validated
from gsi_node.step.solve import solve

ROLLOUTS = "rollouts.jsonl"
Labels = dict[ResponseKey, tuple[float, ...]]
Keep = Callable[[Sample, tuple[float, ...]], None]


def outcomes(samples: Sequence[Sample]) -> Labels:
    """1 for every step of a right response, 0 for every one of a wrong one."""
    return {one.key: (float(one.correct),) * len(one.steps) for one in samples}


def rolled_out(
    recipe: Recipe, samples: Sequence[Sample], folder: Path, at_once: int, load: Callable[[], StepModel]
) -> Labels:
    """Labels by `recipe.rollouts` continuations behind each step but the last, `at_once` of them under way together.

    Those in rollouts.jsonl are not made again. load: the base, asked for where some are left. Raises GSIError.
    """
    file = folder / ROLLOUTS
    with Appender(file) as appender:  # drops a line that a kill cut off
        known = dict(_read(file))
        left = [one for one in samples if one.key not in known]
        if left:
            base = load()
            try:
                _make(recipe, left, base, at_once, lambda one, shares: _keep(known, appender, one, shares))
            finally:
                close(base)
    return {one.key: (*known[one.key], float(one.correct)) for one in samples}


def _make(recipe: Recipe, samples: Sequence[Sample], base: StepModel, at_once: int, keep: Keep) -> None:
    """For each response the share of right continuations behind each step but the last; ungraded ones are not right."""
    models, config = Models(base=base), validated({**recipe.fields, "method": "base", "n": 1, "seed": recipe.seed})

    def right(sample: Sample, place: int, turn: int) -> bool:
        given = [{"text": text} for text in sample.steps[: place + 1]]
        name = "/".join(map(str, (*sample.key, place, turn)))
        found = solve(sample.problem.problem, models, config, problem_id=name, initial_steps=given)
        return grader.grade(sample.problem, found.response).correct is True

    turns = range(recipe.rollouts)
    with RunMeter(len(samples), "responses") as meter, Grader() as grader, ThreadPoolExecutor(at_once) as pool:
        meter.begin()
        try:
            asked = [
                [[pool.submit(right, one, place, turn) for turn in turns] for place in range(len(one.steps) - 1)]
                for one in samples
            ]
            for one, steps in zip(samples, asked, strict=True):
                keep(one, tuple(fmean(future.result() for future in step) for step in steps))
                meter.row(None)
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(known: Labels, appender: Appender, one: Sample, shares: tuple[float, ...]) -> None:
    about = {"schema": SCHEMA, "key": one.key, "shares": shares}
    appender.append(sealed(json.dumps(about).encode()))
    known[one.key] = shares


def _read(file: Path) -> Iterator[tuple[ResponseKey, tuple[float, ...]]]:
    for number, line in lines_of(file):
        found, _ = unsealed(line, f"{file}, line {number}", names=False)
        problem_id, solver, sample = found["key"]
        yield (problem_id, solver, sample), tuple(found["shares"])
