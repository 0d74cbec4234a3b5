"""gsi COMMAND: each command is a module with add_arguments(parser) and main(options) -> exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from gsi_node.host.commands import Command, CommandTable
from gsi_node.host.shell import DONE, ending

ABOUT = """\
Guided Speculative Inference (arXiv 2506.04118): a draft model proposes steps,
a reward model judges them, a base model vouches for them. gsi --version"""
GSI = CommandTable(
    "gsi",
    ABOUT,
    {
        "solve": Command("gsi_node.cli.solve", "solve math problems step by step, and show how; resumable"),
        "methods": Command("gsi_node.cli.methods", "list the methods by which a step can be decided"),
        "serve": Command("gsi_node.cli.serve", "serve a model or a reward over HTTP, for remote:URL", "serve"),
        "doctor": Command("gsi_node.cli.doctor", "load or reach three models, and say what to change"),
        "bench": Command("gsi_node.cli.bench", "where the time of a run goes, and other measurements"),
        "scale": Command(
            "gsi_node.cli.scale", "tokens a second of many servers, simulated from measured seconds", "scale"
        ),
        "convert": Command("gsi_node.cli.convert", "a GGUF file as safetensors and tokenizer files"),
        "calibrate": Command("gsi_node.cli.calibrate", "fit a map from a reward to the probability of being right"),
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of a command; only the named command's module is imported."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given == ["--version"]:
        from importlib.metadata import version  # slow to import

        sys.stdout.write(f"gsi_node {version('gsi-node')}\n")
        return DONE
    return GSI.main(given)


def gsi() -> NoReturn:
    """The installed script."""
    with ending():
        sys.exit(main())


if __name__ == "__main__":
    gsi()
