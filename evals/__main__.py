"""python -m evals COMMAND: each command is a module with add_arguments(parser) and main(options) -> exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from gsi_node.host.shell import Parser, complain, ending

COMMANDS = {
    "run": ("evals.run.command", "solve a data set with several methods, numbers of candidates and seeds; resumable"),
    "merge": ("evals.run.merge", "one folder with the rows of several runs of one configuration"),
    "report": ("evals.report.command", "accuracies, intervals, paired tests, costs and plots of a run folder"),
    "compare": ("evals.report.compare", "two run folders, row by row"),
    "tune": ("evals.tune.command", "search beta, threshold, log_c and n on a calibration split"),
    "paper": ("evals.report.paper", "the published settings as ready commands, with the published figures"),
    "jko": ("evals.jko.command", "neural JKO sampling against ground truth, its sampling floor, HMC and MALA"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of a command; only the named command's module is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle OpenMP threads sleep: the models take turns
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help"):
        known = "\n".join(f"  {name:8} {text}" for name, (_, text) in COMMANDS.items())
        sys.stdout.write(f"usage: python -m evals COMMAND …\n\n{__doc__}\n\n{known}\n\nCOMMAND --help lists options\n")
        return 0 if given else 2
    name = given[0]
    if name not in COMMANDS:
        sys.stderr.write(f"error: no command {name!r}; the commands are {', '.join(COMMANDS)}\n")
        return 2
    try:
        return _called(name, given[1:])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "evals", "gsi_node", "tests"):
            raise
        extra = "jko" if name == "jko" else "evals"
        complain(f"`evals {name}` needs the package {package}: pip install 'gsi-node[{extra}]'")
        return 2


def _called(name: str, argv: Sequence[str]) -> int:
    module = import_module(COMMANDS[name][0])
    parser = Parser(
        prog=f"python -m evals {name}",
        description=(module.__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return int(module.main(parser.parse_args(argv)))


if __name__ == "__main__":
    with ending():
        sys.exit(main())
