"""An example as a user runs it: a copy of it, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def alone(file: Path, folder: Path, *, typed: str = "", borne: str = "") -> str:
    """What it prints, given what is typed; a warning is an error, but for what its end closes and what is `borne`."""
    copied = shutil.copy(file, folder)
    warnings = ["error", "ignore::ResourceWarning", *([f"ignore:{borne}"] if borne else [])]
    argv = [sys.executable, *(word for each in warnings for word in ("-W", each)), copied]
    done = subprocess.run(argv, cwd=folder, input=typed, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
