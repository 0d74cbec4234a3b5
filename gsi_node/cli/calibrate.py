"""Fit a map from a reward to the probability that the step is correct, and keep it.

LABELS: JSON lines, {"problem": …, "steps": […], "label": 0 or 1 for the last step}.
"""

from __future__ import annotations

import argparse
import sys

from gsi_node.host.options import named_path
from gsi_node.host.shell import DONE, loading

METHODS = ("platt", "isotonic")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command is told."""
    parser.add_argument("spec", help="reward spec, for instance prm:/models/prm")
    parser.add_argument("labels", type=named_path, help='JSON lines {"problem", "steps", "label" of the last step}')
    parser.add_argument("--method", choices=METHODS, default="platt", help="default: platt")
    parser.add_argument("--out", type=named_path, help="default: calibration.json in the model's folder")


def main(options: argparse.Namespace) -> int:
    """Fit, write the file, and print one line; the exit code."""
    from gsi_node.specs.load import load_reward
    from gsi_node.tools.calibrate import fitted

    with loading():
        reward = load_reward(options.spec)
    sys.stdout.write(fitted(reward, options.labels, options.method, options.out) + "\n")
    return DONE
