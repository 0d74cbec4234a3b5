"""Options that several commands have."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from gsi_node.host.options import set_field
from gsi_node.step.fields import help_of, with_option

DEFAULTS = {"n": 8}  # kind to a CPU
ELSEWHERE = (  # written out: the table of kinds imports numpy, and --help answers at once
    "hf:NAME_OR_PATH, server:http://HOST:8000/v1#MODEL?tokenizer=NAME_OR_PATH (vLLM), "
    "sglang:http://HOST:30000?tokenizer=NAME_OR_PATH, remote:http://HOST:8100 (gsi serve)"
)
JUDGES = (
    "verifier, prm:NAME_OR_PATH, server:http://HOST:8000/v1#MODEL@FAMILY?tokenizer=NAME_OR_PATH, "
    "remote:http://HOST:8100, judge:http://HOST:8000/v1#MODEL; "
    "around others: ensemble:A|B, calibrated:A, cached:A, noisy:A"
)
SPECS = {"draft": "pocket:draft", "base": "pocket:base", "reward": "pocket"}


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


def add_models(parser: argparse._ActionsContainer) -> None:
    """--draft, --base and --reward."""
    parser.add_argument("--draft", default=SPECS["draft"], metavar="SPEC", help="pocket:draft (default), " + ELSEWHERE)
    parser.add_argument("--base", default=SPECS["base"], metavar="SPEC", help="pocket:base (default), " + ELSEWHERE)
    parser.add_argument("--reward", default=SPECS["reward"], metavar="SPEC", help="pocket (default), " + JUDGES)


def add_settings(parser: argparse._ActionsContainer) -> None:
    """The settings that have an option of their own, --config and --set."""
    for name in with_option():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, dest=name, metavar="VALUE", help=help_of(name, DEFAULTS))
    parser.add_argument("--config", metavar="FILE", help="JSON or TOML (FILE.toml) with fields of GSIConfig")
    add_set(parser)


def add_set(parser: argparse._ActionsContainer) -> None:
    """--set FIELD=VALUE."""
    parser.add_argument(
        "--set", type=set_field, action="append", default=[], metavar="FIELD=VALUE", help="any field of GSIConfig"
    )
