"""The options that tell a whole solver: three specs, and layers of settings. Follows from the fields of GSIConfig."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from gsi_node.cli.shared import SPECS, add_set
from gsi_node.host.options import path_text
from gsi_node.step.fields import help_of, with_option

DEFAULTS = {"n": 8}  # kind to a CPU


@dataclass(frozen=True, slots=True)
class SolverArguments:
    """A solver as a command line tells it: three specs, and layers of settings. named: the GSIConfig fields that have
    an option of their own, as typed; sets: --set's; config: the file's name."""

    draft: str
    base: str
    reward: str
    named: dict[str, str]
    sets: dict[str, str | None]
    config: str | None


def solver_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of SolverArguments in a parsed command line."""
    return {
        **{role: spec if (given := getattr(options, role)) is None else given for role, spec in SPECS.items()},
        "named": {name: value for name in with_option() if (value := getattr(options, name)) is not None},
        "sets": dict(options.set),
        "config": options.config,
    }


def add_settings(parser: argparse._ActionsContainer) -> None:
    """The settings that have an option of their own, --config and --set."""
    for name in with_option():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, dest=name, metavar="VALUE", help=help_of(name, DEFAULTS))
    parser.add_argument(
        "--config", type=path_text, metavar="FILE", help="fields of GSIConfig, JSON or TOML (FILE.toml)"
    )
    add_set(parser)
