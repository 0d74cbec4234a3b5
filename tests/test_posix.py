"""Where a system is not POSIX, a command ends with one line, and a module that needs one with a typed error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = "import signal, sys; sys.modules.update(fcntl=None, resource=None); del signal.SIGPIPE, signal.SIGKILL\n"
TOLD = "gsi_node needs a POSIX system, and this Python has no fcntl: on Windows, run it under WSL"


def elsewhere(code: str) -> subprocess.CompletedProcess[str]:
    """A program run where what Windows lacks is hidden."""
    return subprocess.run([sys.executable, "-c", HIDDEN + code], capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(
    "command",
    [
        "gsi_node.cli solve",
        "gsi_node.cli --help",
        "evals run --data pocket --out runs/x",
        "evals.audit",
        "evals.graders.golds",
        "graphs.math_solver",
        "graphs.neural_jko --target 8modes --out runs/x",
    ],
)
def test_a_command_says_so_at_once_in_one_line(command: str) -> None:
    module, *argv = command.split()
    done = elsewhere(f"import runpy; sys.argv[1:] = {argv!r}; runpy.run_module({module!r}, run_name='__main__')")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {TOLD}\n")


@pytest.mark.parametrize(
    "module",
    [
        "gsi_node.graph.thread_lock",
        "gsi_node.host.files",
        "gsi_node.neural_jko",
        "evals.graders.worker",
        "evals.rows.appender",
        "evals.run.cost",
    ],
)
def test_a_module_that_needs_one_refuses_with_a_typed_error(module: str) -> None:
    caught = (
        f"from gsi_node.errors import ConfigError\ntry:\n    import {module}\nexcept ConfigError as e:\n    print(e)"
    )
    done = elsewhere(caught)
    assert (done.returncode, done.stdout) == (0, f"{TOLD}\n"), done.stderr


def test_nothing_else_imports_what_others_lack() -> None:
    files = (path for room in ("gsi_node", "evals", "graphs") for path in (ROOT / room).rglob("*.py"))
    lacked = re.compile(r"^\s*(import|from) (fcntl|resource|termios|pwd|grp)\b", re.MULTILINE)
    assert [path.name for path in files if lacked.search(path.read_text("utf-8"))] == ["posix.py"]
