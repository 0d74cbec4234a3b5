"""Runs over table models, in processes of their own: a loader of parts by spec, a data file, a command.

Specs of the draft: "table", "slow:SECONDS" a call, "raise:TEXT" or "bug:TEXT" on problems with that text, "die:FILE"
kills its process once, leaving the file, "always-die:TEXT", "other" of another fingerprint, "absent".
`python -m tests.evals.tables ARGUMENTS…` is `python -m evals run` over them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from evals.run import command as run
from gsi_node.errors import BackendError, BackendUnavailable
from gsi_node.host.shell import Parser
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.world import Slow, models, steps_then_answer

LOAD = "tests.evals.tables:load_part"
SETTINGS = ("--set", "beta=4", "--set", "threshold=0.6")


class Troubled(Slow):
    """A table model with one of the troubles of the module's specs."""

    trouble, about = "", ""

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        told = self.about in prefix.problem
        if self.trouble == "raise" and told:
            raise BackendError(f"model {self.name} broke at {prefix.problem!r}")
        if self.trouble == "bug" and told:
            raise KeyError("a bug")
        if self.trouble == "always-die" and told:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble == "die" and not Path(self.about).exists():
            Path(self.about).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(prefix, n, key, law)


def load_part(role: str, spec: str) -> Any:
    """The part of a spec; of "table*2 + other" both, with the counts."""
    if role != "draft":
        return models()[role]
    if " + " in spec:
        given = [one.partition("*") for one in spec.split(" + ")]
        return [(load_part(role, name), int(count)) if count else load_part(role, name) for name, _, count in given]
    trouble, _, about = spec.partition(":")
    if trouble == "absent":
        raise BackendUnavailable("model 'absent' cannot be loaded: it is absent")
    draft = Troubled(steps_then_answer(0.4, 5), name="another" if trouble == "other" else "draft")
    draft.trouble, draft.about = trouble, about
    draft.delay = float(about) if trouble == "slow" else 0.0
    return draft


def problems(folder: Path, count: int) -> Path:
    """A data file of `count` problems whose answer is 7."""
    file = folder / "problems.jsonl"
    lines = [{"id": f"p{i}", "problem": f"problem {i}.", "answer": "7"} for i in range(count)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def command(argv: list[str]) -> int:
    """The exit code of `python -m evals run` over table models."""
    parser = Parser(prog="python -m evals run")
    run.add_arguments(parser)
    draft = () if "--draft" in argv else ("--draft", "table")
    try:
        return run.main(parser.parse_args([*SETTINGS, *draft, *argv]), LOAD)
    except SystemExit as stop:
        return int(stop.code or 0)


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
