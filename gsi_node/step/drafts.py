"""Several drafts: a batch of candidates from all of them, each weighed against the mixture that they make together.

  α_j = n_j / n,  m = Σ_j α_j π_j,  log m(y_i) = logsumexp_j (log α_j + log π_j(y_i)),  ℓ_i = log π_B(y_i) − log m(y_i)

n_j candidates are of draft j, and every draft scores those of the others (the balance heuristic of multiple importance
sampling, Veach and Guibas 1995; docs/math.md §10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import cast

import numpy as np

from gsi_node.core.choose import Chooser
from gsi_node.core.weights import log_sum_exp
from gsi_node.errors import ConfigError, shown
from gsi_node.hearing import Ended, Hear, at_hand
from gsi_node.protocols import StepModel
from gsi_node.step import stages
from gsi_node.step.calls import Stage
from gsi_node.types import Array, Key, Prefix, SamplingLaw, Step

GivenDrafts = StepModel | Sequence[StepModel | tuple[StepModel, int]]
"""π_S; or a list of several, each alone or with its count."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """The drafts of a run; weights: the count that each was given with, None where it was given alone."""

    models: tuple[StepModel, ...] = ()
    weights: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, given: GivenDrafts | None) -> Drafts:
        """What a caller gives. Raises ConfigError for an empty list, and for a count that is none."""
        if given is None or not isinstance(given, list | tuple):
            return cls() if given is None else cls((cast("StepModel", given),), (None,))
        pairs = [item if isinstance(item, tuple) else (item, None) for item in given]
        wrong = next((pair for pair in pairs if len(pair) != 2 or not _is_count(pair[1])), None)
        if wrong is not None or not pairs:
            raise ConfigError(
                "draft: want a model, or a list of models or (model, count), each count an integer ≥ 1; got "
                f"{shown(given if wrong is None else wrong)}"
            )
        models, weights = zip(*pairs, strict=True)
        return cls(models, weights)

    def given(self) -> GivenDrafts | None:
        """As a caller gives them."""
        if not self.several:
            return self.models[0] if self.models else None
        pairs = zip(self.models, self.weights, strict=True)
        return [model if weight is None else (model, weight) for model, weight in pairs]

    @property
    def several(self) -> bool:
        return len(self.models) > 1

    @property
    def roles(self) -> list[str]:
        """Their names in bills and messages."""
        return [f"draft/{j}" for j in range(len(self.models))] if self.several else ["draft"] * len(self.models)

    def fingerprint(self) -> str | list[str] | None:
        """What a checkpoint remembers of them."""
        if not self.several:
            return self.models[0].fingerprint if self.models else None
        return [f"{m.fingerprint}*{weight or 1}" for m, weight in zip(self.models, self.weights, strict=True)]

    def counts(self, n: int) -> list[int]:
        """n_j ≥ 1, Σ n_j = n, as the weights share n out (Sainte-Laguë's method, from one for each; the first of
        equals). Raises ConfigError where n is below the number of drafts."""
        if n < len(self.models):
            raise ConfigError(f"n: want at least {len(self.models)}, one candidate a draft, got {n}")
        counts = [1] * len(self.models)
        for _ in range(n - len(counts)):
            claims = [Fraction(weight or 1, 2 * c + 1) for weight, c in zip(self.weights, counts, strict=True)]
            counts[claims.index(max(claims))] += 1
        return counts


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def log_shares(counts: Sequence[int]) -> Array:
    """log α_j, α_j = n_j / n."""
    return np.log(np.asarray(counts, dtype=np.float64) / sum(counts))


def fixed_labels(counts: Sequence[int]) -> list[int]:
    """Which draft writes which candidate: the first n_0 are of draft 0, and so on."""
    return [j for j, count in enumerate(counts) for _ in range(count)]


def drawn_labels(counts: Sequence[int], choosers: Sequence[Chooser]) -> list[int]:
    """The same, each drawn for itself with P = α: so that every candidate has the law m, as a scan's hits need it."""
    return [chooser.choose(log_shares(counts)) for chooser in choosers]


def mixture(log_probs: Array, counts: Sequence[int]) -> list[float]:
    """log m(y_i) = logsumexp_j (log α_j + log π_j(y_i)), in nats, from log π_j(y_i), shape (candidates, drafts)."""
    return [log_sum_exp(log_shares(counts) + row) for row in log_probs]


def draft_together(
    drafts: Drafts,
    counts: Sequence[int],
    labels: Sequence[int],
    prefix: Prefix,
    key: Key,
    law: SamplingLaw,
    *,
    hear: Hear | None = None,
) -> Stage[list[Step]]:
    """Candidate i from draft labels[i], log_prob: log m(y_i) in nats, of which log_prob_error is a certified bound.

    Draft j has the stream `key` at "draft/j". All write at once, then all score at once what the others wrote. hear:
    hears of them while they are written, or scored. Raises InvalidLogProb, BackendError.
    """
    models, numbers = list(zip(drafts.models, drafts.roles, strict=True)), range(len(drafts.models))
    places = {j: [i for i, label in enumerate(labels) if label == j] for j in numbers}
    writers = [j for j in numbers if places[j]]
    heard = {j: None if hear is None else partial(_placed, hear, places[j]) for j in writers}
    written = yield from stages.together(
        [stages.draft(*models[j], prefix, len(places[j]), key.at(models[j][1]), law, hear=heard[j]) for j in writers]
    )
    own = {j: iter(steps) for j, steps in zip(writers, written, strict=True)}
    steps = [next(own[label]) for label in labels]
    if hear is not None:
        hear(at_hand(steps))
    others = {j: [i for i, label in enumerate(labels) if label != j] for j in numbers}
    readers = [j for j in numbers if others[j]]
    scored = yield from stages.together(
        [stages.score(models[j][0], prefix, [steps[i] for i in others[j]], law, models[j][1]) for j in readers]
    )
    known = np.empty((len(steps), len(models), 2))
    for i, step in enumerate(steps):
        known[i, labels[i]] = step.log_prob, step.log_prob_error
    for j, scores in zip(readers, scored, strict=True):
        known[others[j], j] = scores
    logs = mixture(known[:, :, 0], counts)
    errors = known[:, :, 1].max(axis=1)  # a logsumexp moves by no more than the most that any of its terms does
    return [
        replace(step, log_prob=log, log_prob_error=float(error), draft=label)
        for step, log, error, label in zip(steps, logs, errors, labels, strict=True)
    ]


def _placed(hear: Hear, places: Sequence[int], ended: Ended) -> None:
    """Candidates of one draft, by their places among all."""
    hear({places[k]: made for k, made in ended.items()})
