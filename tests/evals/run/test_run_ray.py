"""A run over a local Ray of two actors, one of which dies midway: nothing is lost, nothing doubled."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evals.rows.lines import read_rows
from gsi_node.needs import install_extra
from tests.evals.run.test_run import lines, plain
from tests.evals.tables import command, problems


def argv_of(folder: Path, out: str, flag: str, *more: str) -> list[str]:
    methods = ["--methods", "gsi,draft", "--n", "2", "--draft", f"die:{folder / flag}"]
    return ["--data", str(problems(folder, 6)), "--out", str(folder / out), *methods, *more]


@pytest.mark.slow
def test_an_actor_that_dies_costs_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    assert command(argv_of(tmp_path, "run", "flag", "--ray", "local", "--workers", "2")) == 0
    assert "died" in capsys.readouterr().err
    rows = read_rows(tmp_path / "run")
    assert len(rows) == len(lines(tmp_path)) == 12
    assert len({row.key for row in rows}) == 12
    assert {row.worker for row in rows} <= {"ray-1", "ray-2", "ray-3"}
    assert command(argv_of(tmp_path, "alone", "flag")) == 0
    capsys.readouterr()
    assert plain(rows) == plain(read_rows(tmp_path / "alone"))


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert command(argv_of(tmp_path, "run", "flag", "--ray", "local")) == 2
    assert install_extra("ray") in capsys.readouterr().err
