"""What a head is fitted to: steps with a label each, or pairs of steps of one problem and solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.train_reward.rollouts import Labels
from evals.train_reward.sampling import Sample
from gsi_node.errors import ConfigError
from gsi_node.types import Array


@dataclass(frozen=True, slots=True)
class Examples:
    """Logits that targets are given for: those of steps, z[first], with a bias; or differences of two steps' logits,
    z[first] − z[second], which have none.

    targets: in [0, 1]. weights: w ≥ 0.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64] | None
    targets: Array
    weights: Array

    @property
    def bias(self) -> bool:
        """Whether a bias is fitted."""
        return self.second is None

    def of(self, values: Array) -> Array:
        """The examples' values from the steps': of features as of logits, since these are linear in them."""
        return values[self.first] if self.second is None else values[self.first] - values[self.second]

    def within(self, kept: NDArray[np.bool_]) -> Examples:
        """Those of kept steps; both of a pair have one problem, and are kept together."""
        some = kept[self.first]
        second = None if self.second is None else self.second[some]
        return Examples(self.first[some], second, self.targets[some], self.weights[some])


@dataclass(frozen=True, slots=True)
class LabelledSteps:
    """Steps, in order, and the examples they make. outcomes: whether their response is right. templates: of their
    problems."""

    outcomes: Array
    templates: Sequence[str]
    examples: Examples


def one_by_one(samples: Sequence[Sample], labels: Labels) -> LabelledSteps:
    """Each step with its label; a response weighs 1, shared by its steps."""
    lengths = [len(one.steps) for one in samples]
    targets = np.concatenate([labels[one.key] for one in samples])
    weights = np.repeat([1 / length for length in lengths], lengths)
    return _labelled(samples, Examples(np.arange(len(targets)), None, targets, weights))


def in_pairs(samples: Sequence[Sample]) -> LabelledSteps:
    """Each step of a right response and the one at the same place of each wrong response of the same solver to the same
    problem, the first better (a Bradley-Terry model); a solver's responses to a problem weigh 1 each, shared by their
    pairs. Across solvers nothing is paired: who wrote a step is easily told, and no choice is between models.

    Raises ConfigError where no solver has right and wrong responses to a problem.
    """
    starts = np.cumsum([0, *(len(one.steps) for one in samples)])
    groups: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for number, one in enumerate(samples):
        groups.setdefault((one.problem.id, one.solver), ([], []))[not one.correct].append(number)
    first: list[int] = []
    second: list[int] = []
    weights: list[float] = []
    for right, wrong in groups.values():
        found = [
            (int(starts[good]) + place, int(starts[bad]) + place)
            for good in right
            for bad in wrong
            for place in range(min(len(samples[good].steps), len(samples[bad].steps)))
        ]
        first += [good for good, _ in found]
        second += [bad for _, bad in found]
        weights += [(len(right) + len(wrong)) / len(found) for _ in found]
    if not first:
        raise ConfigError(
            "no solver has right and wrong responses to a problem of the fit split: more problems, or more samples"
        )
    pairs = Examples(np.asarray(first), np.asarray(second), np.ones(len(first)), np.asarray(weights))
    return _labelled(samples, pairs)


def _labelled(samples: Sequence[Sample], examples: Examples) -> LabelledSteps:
    outcomes = np.repeat([float(one.correct) for one in samples], [len(one.steps) for one in samples])
    return LabelledSteps(outcomes, [one.template for one in samples for _ in one.steps], examples)
