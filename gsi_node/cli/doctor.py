"""Load or reach three models, check their vocabularies, measure their noise, and
solve one problem: does this setting work, and what should change?
"""

from __future__ import annotations

import argparse
import sys

from gsi_node.cli.shared import add_models, add_set
from gsi_node.host.shell import DONE, FAILED, WRONG_CALL

EPILOG = """\
exit codes: 0 all is well; 1 something must change, and it says what;
  2 the call must be changed: a setting, or a model that cannot be loaded;
  130 interrupted (Ctrl-C)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three models, the problem, the settings."""
    parser.epilog = EPILOG
    add_models(parser)
    parser.add_argument("--problem", default="What is 12 + 30?", help="what they solve (default: %(default)s)")
    add_set(parser)


def main(options: argparse.Namespace) -> int:
    """Examine what the command line names; the exit code."""
    from gsi_node.step.layers import gathered, validated
    from gsi_node.tools.doctor import Doctor

    defaults = {"n": 4, "max_steps": 12, "max_step_tokens": 96}
    config = validated(gathered([("default", defaults), ("--set", dict(options.set))]))
    doctor = Doctor(config, options.problem, sys.stdout)
    if doctor.examine(options.draft, options.base, options.reward):
        return DONE
    return FAILED if doctor.all_loaded else WRONG_CALL
