"""How many layers and how strong a fit: by cross-validation over the templates of the fit split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from evals.report.stats import auroc
from evals.train_reward.examples import Examples, LabelledSteps
from evals.train_reward.judged import TriedHead
from evals.train_reward.logistic import log_loss, logistic
from evals.train_reward.templates import spread
from gsi_node.errors import ConfigError
from gsi_node.types import Array

STRENGTHS = tuple(float(f"1e{power}") for power in range(-5, 2))
FOLDS = 5


def choose(
    layers: Sequence[int], features: Callable[[int], Array], steps: LabelledSteps, seed: int, step: Callable[[], None]
) -> tuple[list[TriedHead], TriedHead, Array]:
    """What was tried, the best of it by the examples' held-out log loss (the fewest layers, the weakest fit among
    equals), and its head (v, b) fitted on all.

    features: of a number of layers, shape (steps, width). step: called after each of layers × STRENGTHS. Raises
    ConfigError where steps are all right or all wrong.
    """
    if (kinds := set(steps.outcomes.tolist())) != {0.0, 1.0}:
        told = "right" if kinds == {1.0} else "wrong"
        raise ConfigError(f"every response of the fit split is {told}: name harder or easier problems, or more samples")
    folds, given = _folds(steps.templates, seed), steps.examples
    tried = []
    for count in layers:
        rows = features(count)
        starts = {fold: np.zeros(rows.shape[1] + 1) for fold in set(folds.tolist())}
        for strength in STRENGTHS:
            logits = np.empty(len(rows))
            for fold, start in starts.items():
                out = folds == fold
                starts[fold] = _fitted(rows, given.within(~out), strength, start)
                logits[out] = rows[out] @ starts[fold][:-1] + starts[fold][-1]
            known = [auroc(logits[folds == fold], steps.outcomes[folds == fold]) for fold in starts]
            found = fmean([value for value in known if value is not None] or [0.5])
            tried.append(TriedHead(count, strength, log_loss(given.of(logits), given.targets, given.weights), found))
            step()
    best = min(tried, key=lambda one: (one.log_loss, one.layers, one.strength))
    rows = features(best.layers)
    return tried, best, _fitted(rows, given, best.strength, np.zeros(rows.shape[1] + 1))


def _fitted(rows: Array, given: Examples, strength: float, start: Array) -> Array:
    """The head (v, b) of the examples."""
    return logistic(given.of(rows), given.targets, given.weights, strength, start, bias=given.bias)


def _folds(names: Sequence[str], seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The fold of each step: templates are kept whole."""
    sizes = Counter(names)
    count = min(FOLDS, len(sizes))
    parts = spread(sizes, [1 / count] * count, seed)
    return np.asarray([parts[name] for name in names])
