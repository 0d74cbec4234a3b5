"""Of a whole set from what a design drew of it: strata h with N_h problems, n_h of them solved, N = Σ_h N_h.

  ŷ = Σ_h W_h ȳ_h,  W_h = N_h / N        each problem stands for one over its probability n_h / N_h of being drawn
  v = Σ_h W_h (N_h − 1)/(N − 1) · s_h²/n_h + Σ_h W_h (ȳ_h − ŷ)² / (N − 1)

(Horvitz and Thompson 1952; Rao, Biometrika 60, 1973; Cochran 1977, §12.2.) The set's problems are themselves a sample
of their kind, of whose mean ŷ and of whose estimate's variance v is an unbiased estimate: docs/evals.md, "Two phases".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.report.stats import Difference, Estimate, sign_flip_law, t_quantile, wilson
from evals.run.design import Design
from gsi_node.errors import ConfigError
from gsi_node.types import Array

Sums = Mapping[str, tuple[int, int]]
"""By problem: a sum over its seeds, and how many they are."""


@dataclass(frozen=True, slots=True)
class DrawnStratum:
    """size: N_h; sums, means: of each of its n_h solved problems, over seeds."""

    size: int
    sums: Array
    means: Array

    @property
    def weight(self) -> float:
        """N_h / n_h."""
        return self.size / len(self.sums)

    @property
    def spread(self) -> float:
        """s_h²; 0 of a single one, of which no more is known."""
        return float(self.means.var(ddof=1)) if len(self.means) > 1 else 0.0


def strata_of(design: Design, found: Sums) -> list[DrawnStratum]:
    """The sums by stratum. Raises ConfigError where a stratum has none."""
    strata = []
    for one in design.strata:
        own = np.asarray([found[id] for id in one.chosen if id in found], dtype=np.float64).reshape(-1, 2)
        if not len(own):
            raise ConfigError(f"no problem of those {one.name} in the bank is graded yet: `evals run` goes on")
        strata.append(DrawnStratum(one.size, own[:, 0], own[:, 0] / own[:, 1]))
    return strata


def mean_and_variances(strata: Sequence[DrawnStratum]) -> tuple[float, Array]:
    """(ŷ, the terms of v: one a stratum, and that between them)."""
    sizes = np.asarray([one.size for one in strata], dtype=np.float64)
    means, drawn = np.asarray([(one.means.mean(), len(one.means)) for one in strata]).T
    shares, below = sizes / sizes.sum(), max(1.0, float(sizes.sum()) - 1)
    value = float(shares @ means)
    within = shares * (sizes - 1) / below * np.asarray([one.spread for one in strata]) / drawn
    return value, np.append(within, float(shares @ np.square(means - value)) / below)


def share(design: Design, right: Sums) -> Estimate:
    """The accuracy on all problems: Wilson's interval at ŷ(1 − ŷ)/v problems. right: rows that are, of how many."""
    strata = strata_of(design, right)
    value, terms = mean_and_variances(strata)
    variance, problems = float(terms.sum()), sum(len(one.sums) for one in strata)
    known = variance > 0 and 0 < value < 1
    low, high = wilson(value, value * (1 - value) / variance if known else problems, _quantile(strata, terms))
    return Estimate(value, low, high, math.sqrt(variance), problems, sum(count for _, count in right.values()))


def difference(design: Design, won: Sums) -> Difference:
    """ŷ ± q·√(v + 2/(N + 2)²): one more problem won and one lost, as in stats.paired_difference, so that no interval
    has length 0. won: seeds that the first alone has right minus those that the second alone has."""
    strata = strata_of(design, won)
    value, terms = mean_and_variances(strata)
    terms[-1] += 2 / (sum(one.size for one in strata) + 2) ** 2
    half = _quantile(strata, terms) * math.sqrt(terms.sum())
    sums = np.concatenate([one.sums for one in strata])
    return Difference(
        value=value,
        low=max(-1.0, value - half),
        high=min(1.0, value + half),
        p_value=sign_flip_p(strata),
        problems=len(sums),
        rows=sum(count for _, count in won.values()),
        better=int((sums > 0).sum()),
        worse=int((sums < 0).sum()),
    )


def _quantile(strata: Sequence[DrawnStratum], terms: Array) -> float:
    """Of Student's t with Satterthwaite's degrees (Cochran 1977, §5.4): (Σ v_k)² / Σ v_k²/d_k over the terms of v."""
    degrees = np.asarray([*(max(1, len(one.sums) - 1) for one in strata), max(1, sum(one.size for one in strata) - 1)])
    squares = float((np.square(terms) / degrees).sum())
    return t_quantile(float(terms.sum()) ** 2 / squares if squares else None)


def sign_flip_p(strata: Sequence[DrawnStratum]) -> float:
    """P(|Σ w_i s_i D_i| ≥ |Σ w_i D_i|) over independent fair signs s_i, w_i = N_h / n_h, exactly: the paired
    permutation test over the drawn problems, which were drawn without a look at D."""
    values, law = np.zeros(1), np.ones(1)
    for one in strata:
        own, probabilities = sign_flip_law(one.sums)
        values = np.add.outer(values, one.weight * own).ravel()
        law = np.multiply.outer(law, probabilities).ravel()
    reached = np.abs(values) >= abs(sum(one.weight * float(one.sums.sum()) for one in strata)) - 1e-9
    return min(1.0, float(law[reached].sum()))
