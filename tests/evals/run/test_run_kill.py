"""SIGKILL, SIGINT and SIGTERM in the middle of a run: what was finished is kept, the rest is made once, and equal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.rows.lines import read_rows
from tests import waiting
from tests.evals.run.test_run import plain
from tests.evals.tables import command, problems
from tests.graph.world import environment

Capture = pytest.CaptureFixture[str]


def begin(folder: Path, *module: str, rows: int) -> tuple[subprocess.Popen[str], Path]:
    """A run in a process of its own that has written at least `rows` rows."""
    results = folder / "results.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", *module, "--out", str(folder)], env=environment(), text=True, stderr=subprocess.PIPE
    )
    limit = time.monotonic() + 300
    while not results.exists() or results.read_bytes().count(b"\n") < rows:
        assert process.poll() is None, "the run ended before it was to be stopped"
        assert time.monotonic() < limit
        time.sleep(0.01)
    return process, results


def settled(results: Path) -> bytes:
    """The file once nobody writes it any more: workers end with their driver."""
    before = b""
    while (now := results.read_bytes()) != before:
        before = now
        time.sleep(0.3)
    return now


def test_a_run_killed_twice_ends_with_the_rows_of_one_that_was_not(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--data", str(problems(tmp_path, 12)), "--methods", "gsi,draft", "--n", "3", "--draft", "slow:0.03"]
    module = ("tests.evals.tables", *argv, "--workers", "2")
    killed = tmp_path / "killed"
    kept = 0
    for rows in (3, 12):
        process, results = begin(killed, *module, rows=rows)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lines = settled(results).splitlines(keepends=True)
        assert rows <= len(lines) < 24
        assert all(line.endswith(b"\n") and json.loads(line) for line in lines)
        assert len(lines) > kept
        kept = len(lines)
    before = results.read_bytes()
    with results.open("ab") as file:
        file.write(before[:100])  # as a machine that lost power may leave it
    assert command([*argv, "--out", str(killed), "--workers", "2"]) == 0
    assert results.read_bytes().startswith(before)
    assert len(results.read_bytes().splitlines()) == 24  # none lost, none doubled
    assert command([*argv, "--out", str(tmp_path / "whole")]) == 0
    capsys.readouterr()
    assert plain(read_rows(killed)) == plain(read_rows(tmp_path / "whole"))


def test_interrupted_it_says_how_to_go_on(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--data", str(problems(tmp_path, 20)), "--n", "3", "--draft", "slow:0.05"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        folder = tmp_path / number.name
        process, results = begin(folder, "tests.evals.tables", *argv, rows=2)
        process.send_signal(number)
        _, told = waiting.told(process, 120.0)
        assert process.returncode == code
        assert "interrupted; every finished row is kept. To go on:" in told
        assert "tests.evals.tables" in told
        assert "Traceback" not in told
        lines = results.read_bytes().splitlines()
        assert 2 <= len(lines) < 20
        assert len(read_rows(folder)) == len(lines)
    capsys.readouterr()


def test_ctrl_c_while_the_models_are_imported_says_how_to_go_on_and_no_more(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "evals", "run", "--data", "pocket", "--limit", "2", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not (tmp_path / "run" / "results.jsonl").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: it reaches the server that workers are forked from
    _, told = waiting.told(process, 120.0)
    assert process.returncode == 130
    assert "To go on:" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_the_shipped_models_write_the_same_responses_after_a_kill(tmp_path: Path) -> None:
    argv = ["--data", "pocket", "--methods", "gsi,sbon-base", "--n", "1,4", "--limit", "5", "--workers", "2"]
    process, results = begin(tmp_path / "killed", "evals", "run", *argv, rows=3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 3 <= len(settled(results).splitlines()) < 20
    for name in ("killed", "whole"):
        run = [sys.executable, "-m", "evals", "run", *argv, "--out", str(tmp_path / name)]
        assert subprocess.run(run, env=environment(), stderr=subprocess.DEVNULL).returncode == 0
    killed, whole = (read_rows(tmp_path / name) for name in ("killed", "whole"))
    assert len(results.read_bytes().splitlines()) == len(killed) == 20
    responses = [
        {row.key: (row.response, [s["n_tokens"] for s in row.model_dump()["steps"]]) for row in rows}
        for rows in (killed, whole)
    ]
    assert responses[0] == responses[1]
