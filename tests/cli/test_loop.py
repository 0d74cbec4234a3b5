"""A signal at any moment ends a command, also where it comes while the command closes its checkpoint file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gsi_node.cli.loop import Loop

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
CLOSING = """
import os, sys
from gsi_node.cli import run
closed = run.close_checkpoints
async def close(saver):
    os.kill(os.getpid(), int(sys.argv[1]))
    await closed(saver)
run.close_checkpoints = close
from tests.graphs import tables
sys.exit(tables.command(sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_the_file_is_closed_ends_the_command(number: int, code: int, tmp_path: Path) -> None:
    """The file's connection has a thread of its own, which would keep the process for ever."""
    argv = [sys.executable, "-c", CLOSING, str(int(number)), "--checkpoint", str(tmp_path / "runs.sqlite"), "two"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and "answer" in done.stdout and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(("number", "terminated"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_what_finishes_is_not_cut_short(number: int, terminated: bool) -> None:
    ended = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
        ended.append(True)

    with Loop() as loop:
        with pytest.raises(KeyboardInterrupt):
            loop.finish(work())
        assert ended and loop.terminated is terminated
        with pytest.raises(KeyboardInterrupt):  # and what runs afterwards is cut short as before
            loop.run(work())
    assert len(ended) == 1
