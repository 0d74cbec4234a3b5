"""The math solver over table models: two samples, refusals and fallbacks among their steps, a vote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.crash.test_checkpoints import asked, untimed
from tests.graphs import tables


def command(folder: Path) -> int:
    return tables.command(asked(folder / "run.sqlite"))


def result(folder: Path, out: str) -> Any:
    """The line of --json without seconds: token ids, records, votes, answer."""
    (line,) = out.splitlines()
    return untimed(json.loads(line))


def prepare(work: Path) -> None:
    """Nothing to prepare."""
