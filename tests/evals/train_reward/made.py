"""Made-up judged responses with known truths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.train_reward.judged import Judged


def response(
    problem: str = "p",
    sample: int = 0,
    *,
    solver: str = "draft",
    correct: bool = False,
    finished: bool = True,
    answer: str | None = None,
    scores: Sequence[float] = (0.5,),
    log_ratios: Sequence[float] | None = None,
) -> Judged:
    """A response; its answer is "right" or "wrong" unless it is given, none of an unfinished one."""
    said = ("right" if correct else "wrong") if finished else None
    ratios = None if log_ratios is None else tuple(log_ratios)
    return Judged(
        f"text of {problem}", "t", problem, solver, sample, correct, finished, answer or said, tuple(scores), ratios
    )


def bank(
    rng: np.random.Generator, problems: int, samples: int, *, apart: float = 1.0, solver: str = "draft"
) -> list[Judged]:
    """Problems of different difficulty, whose steps' scores are alike within a problem and within a response. Of two
    steps of one problem, one good and one bad, the good one wins with probability Φ(apart / √(2 · (0.25 + 0.36)))."""
    made = []
    for k in range(problems):
        ease, level = rng.beta(1.5, 1.5), rng.normal(0, 1)
        for sample in range(samples):
            correct = bool(rng.random() < ease)
            own = level + apart * correct + rng.normal(0, 0.5)
            z = own + rng.normal(0, 0.6, int(rng.integers(2, 5)))
            scores = (1 / (1 + np.exp(-z))).tolist()
            ratios = rng.normal(-1, 2, len(z)).tolist()
            made.append(response(f"p{k}", sample, solver=solver, correct=correct, scores=scores, log_ratios=ratios))
    return made
