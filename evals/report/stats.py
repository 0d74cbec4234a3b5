"""Intervals and tests where the problem, not the row, is the unit: the rows of one problem, by seed, are a cluster.

Every function is exact or closed-form: no random numbers, the same rows give the same report. Formulas, sources and the
simulations that check the coverage: docs/evals.md, "Report and statistics"; tests/evals/report/test_stats*.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from gsi_node.types import Array

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval. se: standard error (clustered by problem). clusters: problems; rows: trials."""

    value: float
    low: float
    high: float
    se: float
    clusters: int
    rows: int


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second on common problems and seeds. better, worse: problems where the first is ahead, behind.

    p_value: two-sided exact sign-flip test over problems (McNemar's exact test where there is one seed).
    """

    value: float
    low: float
    high: float
    p_value: float
    problems: int
    rows: int
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Quantiles:
    """5, 25, 50, 75 and 95 % quantiles, the mean and the count of finite values."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    mean: float
    count: float


@lru_cache(maxsize=1024)
def t_quantile(df: float | None) -> float:
    """The 97.5 % quantile of Student's t with df degrees of freedom; of the normal law for None."""
    middle = 0.5 + LEVEL / 2
    return float(scipy_stats.norm.ppf(middle) if df is None else scipy_stats.t.ppf(middle, df))


def wilson(share: float, size: float, quantile: float | None = None) -> tuple[float, float]:
    """(p + q²/2n ± q √(p(1−p)/n + q²/4n²)) / (1 + q²/n): the score interval of a proportion (Wilson, JASA 22, 1927).

    share: p in [0, 1]. size: n trials, may be fractional (an effective size). quantile: q, default the normal 97.5 %.
    """
    q = t_quantile(None) if quantile is None else quantile
    centre = share + q * q / (2 * size)
    half = q * np.sqrt(share * (1 - share) / size + q * q / (4 * size * size))
    scale = 1 + q * q / size
    low, high = float(centre - half) / scale, float(centre + half) / scale
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # p is inside: only rounding could say otherwise


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> tuple[float, float]:
    """R = Σ a_i / Σ d_i over clusters i and its linearised standard error, units of a/d (Cochran 1977, §6.3 and §9A).

    Var R = G/(G − 1) · Σ (a_i − R d_i)² / (Σ d_i)², G clusters; 0 for G = 1, where nothing is known of it.
    """
    a, d = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    total = float(d.sum())
    value = float(a.sum()) / total
    if len(a) < 2:
        return value, 0.0
    return value, float(np.sqrt(len(a) / (len(a) - 1) * np.square(a - value * d).sum())) / total


def proportion(successes: ArrayLike, trials: ArrayLike) -> Estimate:
    """Share of successes over clusters with `trials` each: Wilson's interval at the effective sample size.

    One trial a cluster: Wilson's own interval. Else size n* = p(1 − p) / Var (at most the number of trials; the number
    of clusters where p is 0 or 1) and Student's t with G − 1 degrees of freedom in place of the normal quantile
    (Korn and Graubard 1998; Dean and Pagano 2015). Clusters without trials are left out; some trial must exist.
    """
    d = np.asarray(trials, dtype=np.float64)
    a, d = np.asarray(successes, dtype=np.float64)[d > 0], d[d > 0]
    rows, clusters = int(d.sum()), len(d)
    share, se = ratio(a, d)
    if bool((d == 1).all()):
        low, high = wilson(share, rows)
    elif clusters == 1 or share in (0.0, 1.0):
        low, high = wilson(share, clusters, t_quantile(clusters - 1 if clusters > 1 else None))
    else:
        size = rows if se == 0.0 else min(float(rows), share * (1 - share) / se**2)
        low, high = wilson(share, size, t_quantile(clusters - 1))
    return Estimate(share, low, high, se, clusters, rows)


def mean(sums: ArrayLike, counts: ArrayLike) -> Estimate:
    """Mean of values given by cluster as (sum, count): R ± t_{G−1} · se with the linearised se of `ratio`."""
    d = np.asarray(counts, dtype=np.float64)
    a, d = np.asarray(sums, dtype=np.float64)[d > 0], d[d > 0]
    value, se = ratio(a, d)
    half = t_quantile(len(d) - 1) * se if len(d) > 1 else float("inf")
    return Estimate(value, value - half, value + half, se, len(d), int(d.sum()))


def paired_interval(differences: ArrayLike, pairs: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of δ = Σ D_i / Σ m_i, D_i the sum of m_i differences in [−1, 1] on problem i.

    Bonett and Price 2012, here with clusters: two imagined problems with one pair each are added, one won and one lost;
    then δ' ± q √(Σ (D_i − δ' m_i)²) / Σ m_i over G + 2 problems, q normal where every m_i = 1 (their interval
    exactly), else Student's t with G − 1 degrees of freedom. So no interval has length 0.
    """
    d, m = np.asarray(differences, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    more_d, more_m = np.append(d, [1.0, -1.0]), np.append(m, [1.0, 1.0])
    total = float(more_m.sum())
    centre = float(more_d.sum()) / total
    quantile = t_quantile(None if bool((m == 1).all()) else max(1, len(d) - 1))
    half = quantile * float(np.sqrt(np.square(more_d - centre * more_m).sum())) / total
    return max(-1.0, centre - half), min(1.0, centre + half)


def paired_difference(differences: ArrayLike, pairs: ArrayLike) -> Difference:
    """δ = Σ D_i / Σ m_i with D_i = Σ_j (x_ij − y_ij) over the m_i seeds that both have for problem i, its
    `paired_interval` and its exact p."""
    d, m = np.asarray(differences, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    d, m = d[m > 0], m[m > 0]
    low, high = paired_interval(d, m)
    return Difference(
        float(d.sum() / m.sum()),
        low,
        high,
        sign_flip_p(d),
        len(d),
        int(m.sum()),
        int((d > 0).sum()),
        int((d < 0).sum()),
    )


def sign_flip_p(differences: ArrayLike) -> float:
    """P(|Σ s_i D_i| ≥ |Σ D_i|) over independent fair signs s_i, exactly: the paired permutation test over problems.

    D_i: whole numbers. With one seed (D_i in −1, 0, 1) this is McNemar's exact test: the binomial test of the
    discordant pairs.
    """
    values, law = sign_flip_law(differences)
    reached = np.abs(values) >= abs(float(np.asarray(differences, dtype=np.float64).round().sum()))
    return min(1.0, float(law[reached].sum()))


def sign_flip_law(differences: ArrayLike) -> tuple[Array, Array]:
    """(values, probabilities) of Σ s_i D_i over independent fair signs s_i, D_i whole numbers: a convolution of
    binomial laws, one for each size |D_i|."""
    values = np.asarray(differences, dtype=np.float64).round().astype(np.int64)
    law = np.ones(1)
    for size, count in sorted(Counter(np.abs(values[values != 0]).tolist()).items()):
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = scipy_stats.binom.pmf(np.arange(count + 1), count, 0.5)
        law = np.convolve(law, spread)
    return np.arange(len(law), dtype=np.float64) - len(law) // 2, law


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scand. J. Stat. 6, 1979): max over j ≤ k of (m − j + 1) p_(j), at most 1."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def auroc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """P(score of a good one > of a bad one), ties half: Mann and Whitney's U over the pairs. None without both."""
    values, good = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    pairs = int(good.sum()) * int((~good).sum())
    if pairs == 0:
        return None
    return float(scipy_stats.mannwhitneyu(values[good], values[~good], method="asymptotic").statistic) / pairs


def clustered_auroc(scores: ArrayLike, labels: ArrayLike, clusters: Sequence[str]) -> Estimate | None:
    """auroc = A with its interval over clusters c of M good and N bad rows; None without both.

    Var A = G/(G − 1) Σ_c (Σ_{good in c} (V_i − A)/M + Σ_{bad in c} (W_j − A)/N)², V_i the share of bad rows below the
    good row i, W_j that of good rows above the bad row j, ties half: DeLong's components summed by cluster (Obuchowski,
    Biometrics 53, 1997). The interval is Wilson's at the effective size A(1 − A)/Var, q of Student's t with G − 1.
    """
    values, good = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    value = auroc(values, good)
    if value is None:
        return None
    ranks, m, n = scipy_stats.rankdata(values), int(good.sum()), int((~good).sum())
    part = np.empty(len(values))
    part[good] = ((ranks[good] - scipy_stats.rankdata(values[good])) / n - value) / m  # V by ranks: Sun and Xu 2014
    part[~good] = (1 - (ranks[~good] - scipy_stats.rankdata(values[~good])) / m - value) / n
    names, places = np.unique(np.asarray(clusters), return_inverse=True)
    g = len(names)
    se = float(np.sqrt(g / (g - 1) * np.square(np.bincount(places, part)).sum())) if g > 1 else 0.0
    size = g if se == 0.0 or value in (0.0, 1.0) else min(float(len(values)), value * (1 - value) / se**2)
    low, high = wilson(value, size, t_quantile(g - 1 if g > 1 else None))
    return Estimate(value, low, high, se, g, len(values))


def quantiles(values: ArrayLike) -> Quantiles | None:
    """Of the finite values; None where there is none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return None
    p5, p25, p50, p75, p95 = np.quantile(finite, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
    return Quantiles(p5, p25, p50, p75, p95, float(finite.mean()), float(finite.size))


def pareto(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats: none costs at most as much and is worth more. By rising cost."""
    front: list[int] = []
    best = -float("inf")
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if values[i] > best:
            front.append(i)
            best = values[i]
    return front
