"""What the command line of `gsi solve` means. Imports nothing heavy, so that --help answers at once."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from textwrap import fill

from gsi_node.cli.shared import add_models
from gsi_node.cli.solver_options import DEFAULTS, SolverArguments, add_settings, solver_fields
from gsi_node.errors import ConfigError
from gsi_node.host.options import path_text, positive
from gsi_node.step.fields import Settings, help_of, with_option

EPILOG = """\
examples:
  gsi solve "What is 12 * (7 + 5)?"
  gsi solve --samples 5 --file problems.jsonl --json
  gsi solve --checkpoint runs.sqlite "Solve for x: 3x + 5 = 20."
  gsi solve --draft hf:Qwen/Qwen2.5-Math-1.5B-Instruct \\
      --base hf:Qwen/Qwen2.5-Math-7B-Instruct \\
      --reward verifier --n 16 "..."

settings: --set wins over a named option, that over --config, that over the
  defaults. Fields without an option of their own:
FIELDS

exit codes: 0 done; 1 it failed under way (a model, a server, the disk);
  2 the call must be changed; 130 interrupted (Ctrl-C); 141 the reader of
  standard output went away; 143 terminated
"""


def epilog() -> str:
    """What stands under the options, with every field that has none."""
    others = [name for name in Settings.model_fields if name not in with_option()]
    lines = [fill(f"    {name:<20}{help_of(name, DEFAULTS)}", 79, subsequent_indent=" " * 24) for name in others]
    return EPILOG.replace("FIELDS", "\n".join(lines))


@dataclass(frozen=True, slots=True)
class Arguments(SolverArguments):
    """A parsed command line."""

    problems: tuple[str, ...]
    files: tuple[str, ...]
    samples: int
    checkpoint: str | None
    thread: str | None
    json: bool
    anyway: bool


def read(options: argparse.Namespace) -> Arguments:
    """The command line as a value. Raises ConfigError where options contradict each other."""
    if options.thread is not None and options.checkpoint is None:
        raise ConfigError("--thread names a run in a checkpoint file: add --checkpoint FILE.sqlite")
    if options.thread is not None and not options.thread.strip():
        raise ConfigError("--thread: want a name, got an empty one")
    for option in ("thread", "checkpoint"):
        if (value := getattr(options, option)) is not None and not value.isprintable():
            raise ConfigError(f"--{option}: want printable UTF-8 text, got {ascii(value)[:80]}")
    return Arguments(
        problems=tuple(options.problems),
        files=tuple(options.file),
        **solver_fields(options),
        samples=options.samples,
        checkpoint=options.checkpoint,
        thread=options.thread,
        json=options.json,
        anyway=options.anyway,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gsi solve`."""
    parser.epilog = epilog()
    parser.add_argument(
        "problems", nargs="*", metavar="PROBLEM", help="problems; - reads standard input; none: three sample problems"
    )
    parser.add_argument(
        "--file",
        type=path_text,
        action="append",
        default=[],
        metavar="FILE.jsonl",
        help='JSON lines: objects with "problem" (and "id")',
    )
    parser.add_argument("--examples", action="store_true", help="print what the shipped models can be asked, and exit")
    parser.add_argument(
        "--anyway", action="store_true", help="ask the shipped models what lies outside of their world, too"
    )
    add_models(parser.add_argument_group("models"))
    settings = parser.add_argument_group("settings")
    add_settings(settings)
    settings.add_argument(
        "--samples",
        type=positive,
        default=1,
        metavar="K",
        help="solve each problem K times in parallel and vote, weighted by reward (default 1)",
    )
    runs = parser.add_argument_group("runs")
    runs.add_argument(
        "--checkpoint", type=path_text, metavar="FILE.sqlite", help="keeps every step; an unfinished run goes on"
    )
    runs.add_argument(
        "--thread",
        metavar="ID",
        help="the run's name in the checkpoint file; several problems get ID/0, ID/1 … (default: named after the "
        "problem and its settings, so that the same command resumes)",
    )
    runs.add_argument("--json", action="store_true", help="one JSON object a problem on standard output, nothing else")
    runs.add_argument("--list-methods", action="store_true", help="list the methods and exit, as `gsi methods` does")
