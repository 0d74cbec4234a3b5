"""A worker of `evals run` that ends at any point of its work: its rows are made by another, in the same command."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evals.rows.lines import read_rows
from evals.run import command as run
from gsi_node.host.shell import Parser
from tests.crash import worker_points
from tests.evals.run.test_run import plain
from tests.evals.tables import SETTINGS, problems

Capture = pytest.CaptureFixture[str]


def solved(data: Path, folder: Path, at: int) -> int:
    """The exit code of a run whose first worker to reach its point ends there."""
    folder.mkdir(exist_ok=True)
    argv = ["--data", str(data), "--methods", "gsi", "--n", "2", "--out", str(folder / "run"), "--draft", "table"]
    parser = Parser(prog="python -m evals run")
    run.add_arguments(parser)
    return run.main(parser.parse_args([*SETTINGS, *argv]), worker_points.load(at, folder))


def test_a_worker_that_dies_anywhere_changes_no_row(tmp_path: Path, capsys: Capture) -> None:
    """Of its points: half of its first message, before and half of its last one, and four drawn by seed."""
    data, folder = problems(tmp_path, 2), tmp_path / "whole"
    assert solved(data, folder, 0) == 0
    whole = plain(read_rows(folder / "run"))
    points = int((folder / worker_points.PASSED).read_text())
    assert (len(whole), points > 20) == (2, True)
    for at in (2, *sorted(random.Random(0).sample(range(3, points - 1), 4)), points - 1, points):
        folder = tmp_path / str(at)
        code = solved(data, folder, at)
        assert (folder / worker_points.DIED).exists()
        told = capsys.readouterr().err
        assert "died (exit code 137)" in told
        assert "Traceback" not in told
        assert code == (1 if at == 2 else 0)  # one that dies before it is ready ends the run: the next would, too
        assert solved(data, folder, 0) == 0
        assert plain(read_rows(folder / "run")) == whole
        assert len((folder / "run" / "results.jsonl").read_bytes().splitlines()) == 2
