"""By what and where rows are made, for a person who reads them later; it decides no number of theirs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from evals.run.config import Provenance

TREE = Path(__file__).parents[2]
CPUINFO = Path("/proc/cpuinfo")


def here_and_now(tree: Path = TREE) -> Provenance:
    """That of this process."""
    return Provenance(
        version=version("gsi-node"),
        commit=commit_of(tree),
        machine=machine(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@cache
def own_commit() -> str | None:
    """That of the tree this process was started from."""
    return commit_of(TREE)


def commit_of(tree: Path) -> str | None:
    """The commit of a clone's root folder; None of any other folder."""
    # a repository above the tree's own does not count, and the index of one that a person works in is not written
    only = {"GIT_CEILING_DIRECTORIES": str(tree.resolve().parent), "GIT_OPTIONAL_LOCKS": "0"}
    return _said(
        "git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", environment=only
    )


def machine() -> str:
    """One line, without the machine's name."""
    lines = CPUINFO.read_text("utf-8", "replace").splitlines() if CPUINFO.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cpu = next(models, platform.processor() or platform.machine())
    gpus = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    told = [f"{platform.system()} {platform.machine()}", f"{cpu} × {os.cpu_count()}", *(gpus or "").splitlines()]
    return ", ".join(told)


def _said(*command: str, environment: Mapping[str, str] | None = None) -> str | None:
    """What a command prints; None where it is not there, fails or hangs."""
    variables = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
