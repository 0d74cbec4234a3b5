"""python -m evals power --points 8 --discordance 0.25 --n 100,200,300: what a paired comparison can see.

Exact, by enumeration. Of n problems each is won by the first method alone with probability (d + δ)/2, by the second
alone with (d − δ)/2; tested is with the report's own test at 5 %, two-sided. δ: --points / 100, d: --discordance.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from scipy import stats as scipy_stats

from evals.options import integers, numbers
from evals.report.text_table import TextTable
from gsi_node.errors import ConfigError
from gsi_node.host.shell import complain
from gsi_node.types import Array

LEVEL = 0.05
MOST = 100_000
"""Problems: the enumeration is over their number."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `power`."""
    parser.add_argument(
        "--points", type=numbers, required=True, help="differences of accuracy in points, with commas between"
    )
    parser.add_argument(
        "--discordance", type=numbers, required=True, help="shares of problems that one method alone gets right"
    )
    parser.add_argument("--n", type=integers, required=True, help="problems, with commas between")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where no such problems can be."""
    try:
        rows = [
            (f"{points:g}", f"{discordance:g}", str(n), f"{power(n, points / 100, discordance):.3f}")
            for points in options.points
            for discordance in options.discordance
            for n in options.n
        ]
    except ConfigError as error:
        complain(str(error))
        return 2
    columns = ("points", "discordance", "problems", "power")
    sys.stdout.write(TextTable("Power of the exact paired test at 5 %", columns, rows).markdown())
    return 0


def power(n: int, difference: float, discordance: float) -> float:
    """Σ_m P(M = m) Σ_b P(B = b | m) 1{p(b, m) ≤ 5 %}, M ~ Bin(n, d), B ~ Bin(m, (1 + δ/d)/2), p: McNemar's exact test.

    Raises ConfigError where n is none, or not 0 ≤ δ ≤ d ≤ 1 with d > 0.
    """
    if not 1 <= n <= MOST:
        raise ConfigError(f"--n: want from 1 to {MOST} problems, got {n}")
    if not (0 <= difference <= discordance <= 1 and discordance > 0):
        raise ConfigError(
            f"--points {100 * difference:g}, --discordance {discordance:g}: want 0 ≤ points / 100 ≤ discordance ≤ 1, "
            "since only problems that one method alone gets right make a difference"
        )
    pairs = np.arange(n + 1)
    lost = _greatest_loss(n)
    win = (1 + difference / discordance) / 2
    rejected = scipy_stats.binom.cdf(lost, pairs, win) + scipy_stats.binom.cdf(lost, pairs, 1 - win)
    return float(scipy_stats.binom.pmf(pairs, n, discordance) @ rejected)


def _greatest_loss(n: int) -> Array:
    """For m = 0 … n pairs the greatest k with 2·P(Bin(m, ½) ≤ k) ≤ 5 %, −1 where there is none: at most k of m won, or
    lost, is significant. Two tails never meet, as 5 % is below 1."""
    pairs = np.arange(n + 1)
    found = scipy_stats.binom.ppf(LEVEL / 2, pairs, 0.5)  # the least k with P(Bin ≤ k) ≥ 2.5 %
    significant = scipy_stats.binom.cdf(found, pairs, 0.5) <= LEVEL / 2
    return np.asarray(np.where(significant, found, found - 1), dtype=np.float64)
