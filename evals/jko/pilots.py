"""What the pilot finds on each target: one second and at most 20,000 evaluations a seed, nothing is trained or kept.

python -m evals jko-pilots --targets 8modes,8peaky,mustache,funnel,gmm10
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from evals.jko.command import integers
from evals.report.text_table import TextTable
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.shell import FAILED, WRONG_CALL, complain
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.pilot import Pilot, pilot
from gsi_node.neural_jko.targets import KnownTarget, Target, named
from gsi_node.neural_jko.train import generator_for

COLUMNS = ("target", "dim", "log Z", "truth", "ESS", "modes", "b", "log₁₀ β0", "scales", "evaluations")
NOTE = (
    "The pilot alone: log Z of its points, nats; ESS: the effective number of these points; b: the lowest power of g "
    "whose ESS as a proposal for g is 0.75; β0: the first step of the path from N(0, I) in its coordinates; scales: "
    "least and largest (q95 − q05) / 3.29 of a coordinate. Least … largest over the seeds, where they differ."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", default="8modes,8peaky,mustache,funnel,gmm10", help="names, separated by commas")
    parser.add_argument("--seeds", default="0,1,2", help="one pilot a seed")
    parser.add_argument("--target-seed", type=int, help="the means of mixtures are drawn from it")


def main(options: argparse.Namespace) -> int:
    try:
        seeds = integers("--seeds", options.seeds)
        targets = [named(name, options.target_seed) for name in options.targets.split(",")]
        rows = [row(target, [found(target, seed) for seed in seeds]) for target in targets]
    except GSIError as error:
        complain(str(error))
        return WRONG_CALL if isinstance(error, ConfigError) else FAILED
    sys.stdout.write(TextTable("What the pilot finds", COLUMNS, rows, [NOTE]).markdown())
    return 0


def found(target: Target, seed: int) -> Pilot:
    """The pilot of the run of that seed."""
    return pilot(target.log_density, target.dim, generator_for(seed, "pilot", 0).initial_seed())


def row(target: Target, pilots: Sequence[Pilot]) -> Sequence[str]:
    ends = [one.points.quantiles((0.05, 0.95)) for one in pilots]
    scales = [float(scale) for low, high in ends for scale in (high - low) / 3.29]
    share = JKOConfig().proposal_ess
    return (
        target.name,
        str(target.dim),
        between([one.log_z for one in pilots], ".3f"),
        f"{target.log_z:.3f}" if isinstance(target, KnownTarget) else "",
        between([one.points.share * len(one.points) for one in pilots], ".0f"),
        between([len(one.modes) for one in pilots], ".0f"),
        between([one.points.power_for(share) for one in pilots], ".3f"),
        between([float(np.log10(one.first_power)) for one in pilots], ".1f"),
        between(scales, ".3g"),
        between([one.evaluations for one in pilots], ",.0f"),
    )


def between(values: Sequence[float], style: str) -> str:
    """least … largest, or one number where both read the same."""
    low, high = format(min(values), style), format(max(values), style)
    return low if low == high else f"{low} … {high}"
