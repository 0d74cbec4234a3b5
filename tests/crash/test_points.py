"""Points drawn by seed at which a run is killed, interrupted, or finds its disk full: it goes on to the same result.

105 of them are kills (eight more are in test_worker.py). `make test-crash` takes every point, at every fate.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.graphs.test_solver import ROOT

DRAWN = [
    ("solver", "kill", 58),
    ("solver", "full", 10),
    ("solver", "size", 10),
    ("solver", "sigint", 6),
    ("solver", "sigterm", 6),
    ("evals", "kill", 26),
    ("evals", "full", 8),
    ("evals", "size", 8),
    ("evals", "sigint", 4),
    ("evals", "sigterm", 4),
    ("train", "kill", 5),
    ("train", "full", 2),
    ("train", "size", 2),
    ("train", "sigint", 2),
    ("jko", "kill", 16),
    ("jko", "full", 5),
    ("jko", "size", 5),
    ("jko", "sigint", 5),
    ("jko", "sigterm", 5),
]


def test_a_hundred_kills() -> None:
    assert sum(points for _, fate, points in DRAWN if fate == "kill") >= 100


@pytest.mark.parametrize(("system", "fate", "points"), DRAWN)
def test_a_run_goes_on_after(system: str, fate: str, points: int) -> None:
    command = [sys.executable, "-m", "tests.crash.enumerate", system, "--fate", fate, "--points", str(points)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{system}, {fate}: " in done.stdout
    assert " 0 not survived" in done.stdout
