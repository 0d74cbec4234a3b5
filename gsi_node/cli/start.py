"""Before anything heavy is imported: read the command line, the problems and the settings, or say what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsi_node.cli.arguments import Arguments, parse
from gsi_node.host.shell import ending

if TYPE_CHECKING:
    from gsi_node.cli.problems import Problem
    from gsi_node.step.config import GSIConfig


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asks for; problems is empty where it names none. command: the line to repeat it with."""

    arguments: Arguments
    config: GSIConfig
    problems: list[Problem]
    command: list[str]


def start(argv: Sequence[str], command: Sequence[str] | None = None) -> Job:
    """The job of a command line. Exits: 0 after --help and --list-methods, 2 with one line where the call is wrong."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads sleep: the models are small, and take turns
    with ending():
        arguments = parse(argv)

        from gsi_node.cli.problems import gather
        from gsi_node.cli.settings import settings

        if arguments.list_methods:
            from gsi_node.cli.methods import list_methods

            list_methods()
            raise SystemExit(0)
        config = settings(arguments)
        problems = gather(arguments.problems, arguments.files, sys.stdin)
    return Job(arguments, config, problems, list(sys.orig_argv if command is None else command))
