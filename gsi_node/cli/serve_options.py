"""What the command line of `gsi serve` means, before anything heavy is imported."""

from __future__ import annotations

import argparse
import math
from typing import Any

from gsi_node.cli.shared import ELSEWHERE, HELP, SEVERAL
from gsi_node.cli.solver_options import SolverArguments, add_settings, solver_fields
from gsi_node.errors import ConfigError, shown
from gsi_node.host.options import Joined, named_path, positive
from gsi_node.step.fields import with_option

_EPILOG = """environment:
  GSI_API_KEY  the key that every request must carry as a bearer token; for probes,
               GET /health without one says {"status": "ok"} and nothing else

exit codes:
  1 it failed under way; 2 the call must be changed; 130 interrupted; 143 terminated"""
_SERVED = {"name": "gsi", "max_running": 16, "max_waiting": 64}


def solver_of(options: argparse.Namespace) -> SolverArguments:
    """The solver that is served."""
    return SolverArguments(**solver_fields(options))


def served(options: argparse.Namespace) -> dict[str, Any]:
    """Under which name, and how much of it at a time."""
    return {key: value if (given := getattr(options, key)) is None else given for key, value in _SERVED.items()}


def check(options: argparse.Namespace) -> None:
    """Raises ConfigError for a call that names nothing to serve, or two things, or settings of another."""
    if not (options.model or options.openai or options.mcp or options.reward):
        raise ConfigError("what shall be served? want --model SPEC, --reward SPEC, --openai or --mcp")
    of_http = (*_SERVED, "key_file", "metrics_key_file")
    if options.port is None and options.mcp:
        if told := [name for name in of_http if getattr(options, name) is not None]:
            raise ConfigError(
                f"--{told[0].replace('_', '-')}: --mcp without --port speaks over standard input and output, to "
                "the one client that started it; leave it out, or add --port"
            )
    elif options.port is None:
        raise ConfigError("--port is needed: a number, or 0 for any free one")
    if options.name is not None and not (options.name.strip() and options.name.isprintable()):
        raise ConfigError(f"--name: want printable text, got {shown(options.name)}")
    if options.openai or options.mcp:
        return
    if options.model and options.reward:
        raise ConfigError("--model and --reward: one service serves one of them; start two")
    given = [
        name for name in ("draft", "base", "config", *_SERVED, *with_option()) if getattr(options, name) is not None
    ]
    if options.set:
        given.append("set")
    if given:
        raise ConfigError(f"--{given[0].replace('_', '-')} is of a solver: add --openai or --mcp, or leave it out")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is served, where, and to whom."""
    parser.epilog = _EPILOG
    what = parser.add_argument_group("what is served")
    one = what.add_mutually_exclusive_group()
    one.add_argument("--model", metavar="SPEC", help=f"a language model: pocket:draft, pocket:base, {ELSEWHERE}")
    one.add_argument("--openai", action="store_true", help="a solver, as OpenAI's clients ask for one")
    one.add_argument("--mcp", action="store_true", help="a solver, as a tool of the Model Context Protocol")
    what.add_argument("--reward", metavar="SPEC", help=f"a reward model; of a solver: {HELP['reward']}")
    solver = parser.add_argument_group("the solver")
    solver.add_argument(
        "--draft", action=Joined, metavar="SPEC", help=f"pocket:draft (default), or as --model; {SEVERAL}"
    )
    solver.add_argument("--base", metavar="SPEC", help="pocket:base (default), or as --model")
    solver.add_argument("--name", help="the model that clients ask for (default: gsi)")
    solver.add_argument("--max-running", type=positive, metavar="N", help="runs at a time (default: 16)")
    solver.add_argument(
        "--max-waiting", type=positive, metavar="N", help="requests that wait for one; any more get 429 (default: 64)"
    )
    add_settings(solver)
    where = parser.add_argument_group("where, and to whom")
    where.add_argument(
        "--port",
        type=_port,
        help="0: any free one; it is printed. --mcp without one speaks over standard input and output",
    )
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    where.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address by which clients may call this service, besides --host and loopback; repeatable",
    )
    where.add_argument(
        "--key-file", type=named_path, metavar="FILE", help="holds the key of every request, where GSI_API_KEY does not"
    )
    where.add_argument(
        "--metrics-key-file",
        type=named_path,
        metavar="FILE",
        help="holds the key of /metrics, in place of the others'",
    )
    where.add_argument("--insecure", action="store_true", help="let other machines in without a key")
    where.add_argument("--no-access-log", action="store_true", help="no line a request on standard error")
    where.add_argument(
        "--client-timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="that a client may take to send a request, to read its answer, or to ask again (default: 30)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no port from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of seconds above 0, at most a day")
    return seconds
