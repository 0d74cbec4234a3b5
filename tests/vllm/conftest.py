"""The servers of these tests, and a report of what was measured at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gsi_node.pocket import path
from tests.vllm.servers import Fleet, VLLMServer

VARIABLE = "GSI_VLLM_PYTHON"
_lines: list[str] = []


@pytest.fixture(scope="session")
def report() -> Callable[[str], None]:
    """Adds a line to the terminal's last words."""
    return _lines.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _lines:
        terminalreporter.section("measured against vLLM")
        for line in _lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, VLLMServer]]:
    """The shipped draft, base and reward model, each behind a vLLM of its own."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no environment with vLLM: `make test-vllm` makes one (3.4 GB) and runs this")
    logs = tmp_path_factory.mktemp("vllm")
    extra = {"draft": list[str](), "base": ["--enable-scale-out"], "reward": ["--runner", "pooling"]}
    servers = {
        name: VLLMServer(Path(python), path(name), name, logs / f"{name}.log", *options)
        for name, options in extra.items()
    }
    with Fleet(list(servers.values())):
        yield servers
