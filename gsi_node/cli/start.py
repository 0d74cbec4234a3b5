"""Before the models' libraries are imported: read the problems and the settings, or say what is wrong."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gsi_node.cli.arguments import Arguments, read
from gsi_node.cli.outside import known_to_pocket
from gsi_node.cli.problems import MathProblem, gather
from gsi_node.cli.settings import settings
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.specs.load import check_spec, split_drafts
from gsi_node.step.config import GSIConfig

SCRIPT = "gsi"


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asks for. command: the line to repeat it with."""

    arguments: Arguments
    config: GSIConfig
    problems: list[MathProblem]
    command: list[str]


def start(options: argparse.Namespace, command: Sequence[str] | None = None) -> Job:
    """The job of a command line. command: what was typed, where this process does not tell. Raises ConfigError."""
    arguments = read(options)
    config = settings(arguments)
    for spec, _ in split_drafts(arguments.draft):
        check_spec(spec, MODELS, "draft")
    check_spec(arguments.base, MODELS, "base")
    check_spec(arguments.reward, REWARDS, "reward")
    problems = gather(arguments.problems, arguments.files, sys.stdin)
    if not arguments.anyway and any(spec.startswith("pocket:") for spec in (arguments.draft, arguments.base)):
        problems = known_to_pocket(problems)
    return Job(arguments, config, problems, list(command or as_typed()))


def as_typed() -> list[str]:
    """The command line of this process as its user typed it: the installed script is called by its name alone."""
    script = sys.argv[0]
    if Path(script).name != SCRIPT:
        return list(sys.orig_argv)
    return [SCRIPT if script == shutil.which(SCRIPT) else script, *sys.argv[1:]]
