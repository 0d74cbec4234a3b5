"""Each coordinate of two samples against the other's: two-sample Kolmogorov–Smirnov, corrected by Holm."""

from __future__ import annotations

from typing import NamedTuple

from scipy.stats import ks_2samp
from statsmodels.stats.multitest import multipletests
from torch import Tensor

LEVEL = 0.05  # of all coordinates together


class MarginalTest(NamedTuple):
    """rejected: how many coordinates differ at LEVEL; least_p: the smallest corrected p-value."""

    rejected: int
    least_p: float


def marginal_test(x: Tensor, y: Tensor) -> MarginalTest:
    """H_i: coordinate i of x (n, dim) and of y (m, dim) are draws of one law.

    Where all are, the chance that any is rejected is LEVEL. p-values are those of the limit in n.
    """
    p_values = [ks_2samp(a, b, method="asymp").pvalue for a, b in zip(x.t().numpy(), y.t().numpy(), strict=True)]
    rejected, corrected, *_ = multipletests(p_values, alpha=LEVEL, method="holm")
    return MarginalTest(int(rejected.sum()), float(corrected.min()))
