"""Marginals against marginals: level where laws agree, power where one is shifted."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import kstest

from evals.jko.marginals import LEVEL, marginal_test
from gsi_node.neural_jko.targets import named, with_truth


def test_at_the_truth_p_values_are_uniform_and_the_family_s_level_holds() -> None:
    """One coordinate: the corrected p is the p-value. Ten: at most LEVEL of the tests reject anything."""
    stream = torch.Generator().manual_seed(0)
    single = [marginal_test(*torch.randn(2, 20_000, 1, generator=stream)).least_p for _ in range(200)]
    assert kstest(single, "uniform").pvalue > 0.01
    funnel = with_truth(named("funnel"))
    tests = [marginal_test(funnel.sample(1000, stream), funnel.sample(1000, stream)) for _ in range(100)]
    wrong = sum(test.rejected > 0 for test in tests)
    assert wrong <= 12  # P(Binomial(100, LEVEL) > 12) < 0.002
    assert all((test.rejected > 0) == (test.least_p <= LEVEL) for test in tests)


def test_shifted_marginals_are_found_and_no_other() -> None:
    stream = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 20_000, 10, generator=stream, dtype=torch.float64)
    x[:, [2, 7]] += 0.05
    assert marginal_test(x, y).rejected == 2


def test_the_correction_is_holm_s() -> None:
    """By hand: the i-th smallest of k p-values is rejected while p ≤ LEVEL / (k − i)."""
    from scipy.stats import ks_2samp

    more = 0
    for seed in range(20):
        stream = torch.Generator().manual_seed(seed)
        x, y = torch.randn(2, 500, 6, generator=stream)
        x += torch.linspace(0.1, 0.25, 6)
        p = np.sort([ks_2samp(x[:, i], y[:, i], method="asymp").pvalue for i in range(6)])
        fails = [i for i in range(6) if p[i] > LEVEL / (6 - i)]
        found = marginal_test(x, y)
        assert found.rejected == (fails[0] if fails else 6)
        assert abs(found.least_p - min(1.0, 6 * p[0])) < 1e-12
        more += found.rejected > (p <= LEVEL / 6).sum()
    assert more > 0  # Bonferroni rejects fewer
