"""The command under the newest transformers that the package takes: no dependency speaks on its page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugs.clients import client

client("deepagents")


@pytest.mark.parametrize("method", ["gsi", "rsd"])
def test_no_warning_of_a_dependency_reaches_the_page(method: str) -> None:
    command = [str(Path(sys.executable).with_name("gsi")), "solve", "--method", method, "What is 3 + 4?"]
    found = subprocess.run(command, env={**os.environ, "PYTHONWARNINGS": ""}, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "") and "Warning" not in found.stdout
