"""gsi calibrate SPEC LABELS: fit a map from a reward to the probability that the step is correct, and keep it.

LABELS: JSON lines, {"problem": …, "steps": […], "label": 0 or 1 for the last step}.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gsi_node.host.shell import Parser, ending
from gsi_node.rewards.wrappers.calibration import METHODS, NAME, beside
from gsi_node.rewards.wrappers.fitting import calibrate
from gsi_node.specs.load import load_reward


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command is told."""
    parser.add_argument("spec", help="reward spec, for instance prm:/models/prm")
    parser.add_argument("labels", type=Path, help='JSON lines {"problem", "steps", "label" of the last step}')
    parser.add_argument("--method", choices=METHODS, default="platt", help="default: platt")
    parser.add_argument("--out", type=Path, help=f"default: {NAME} in the model's folder")


def main(options: argparse.Namespace) -> int:
    """Fit, write the file, and print one line; the exit code."""
    reward = load_reward(options.spec)
    path = options.out or beside(reward)
    fitted = calibrate(reward, options.labels, options.method)
    fitted.save(path)
    sys.stdout.write(
        f"{fitted.examples} steps: {fitted.before:.4f} nats a label before, {fitted.after:.4f} after; wrote {path}\n"
    )
    return 0


if __name__ == "__main__":
    with ending():
        parser = Parser(prog="python -m gsi_node.tools.calibrate", description=(__doc__ or "").split("\n\n")[0])
        add_arguments(parser)
        raise SystemExit(main(parser.parse_args()))
