"""What a report says does not depend on the process that writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.evals.synthetic import campaign, write

ROOT = Path(__file__).parents[3]


def test_the_same_rows_give_the_same_numbers_in_every_process(tmp_path: Path) -> None:
    """Python's sets of texts come in another order in each."""
    folder = write(tmp_path / "run", list(campaign(20, ("gsi", "rsd-n", "base"), (1, 4), (0, 1, 2), keep=False))[:-7])
    told = []
    for seed in ("1", "2", "3"):
        command = [sys.executable, "-m", "evals", "report", str(folder), "--no-plots"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True)
        told.append((folder / "report" / "summary.json").read_bytes())
    assert told[0] == told[1] == told[2]
