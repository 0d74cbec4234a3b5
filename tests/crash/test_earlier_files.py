"""Files and folders that version 0.1.0 (commit 9e6f9ff) made go on: half-finished ones to the result of a whole run."""

from __future__ import annotations

import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
import torch

from evals.rows.lines import read_rows
from gsi_node.neural_jko import load, named
from tests.crash import system_jko
from tests.crash.test_checkpoints import Capture, asked, solved
from tests.evals.run.test_run import plain
from tests.evals.tables import command as evals_run
from tests.graphs.tables import command

FIXTURES = Path(__file__).parent / "fixtures"


def unpacked(name: str, folder: Path) -> Path:
    """A folder as 0.1.0 left it: "half" and "pending" ones by a process that was killed, the latter between the last
    writes and their checkpoint."""
    with tarfile.open(FIXTURES / f"{name}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize(
    ("name", "told"), [("half", "is resumed"), ("pending", "is resumed"), ("finished", "is finished")]
)
def test_a_solvers_checkpoint(name: str, told: str, tmp_path: Path, capsys: Capture) -> None:
    file = unpacked(f"solver-{name}", tmp_path) / "run.sqlite"
    whole, _ = solved(capsys, tmp_path / "whole.sqlite")
    assert whole["answer"] == "7"
    found, said = solved(capsys, file)
    assert told in said
    assert found == whole
    assert "is finished" in solved(capsys, file)[1]


def without(file: Path, field: str) -> int:
    """Take a field of the configuration out of a checkpoint file, as if it were new since; how many entries had it."""
    count = 0

    def hook(code: int, data: bytes) -> Any:
        return ormsgpack.Ext(code, data)

    def strip(value: Any) -> Any:
        nonlocal count
        if isinstance(value, dict):
            count += field in value
            return {key: strip(item) for key, item in value.items() if key != field}
        return [strip(item) for item in value] if isinstance(value, list) else value

    with sqlite3.connect(file) as connection:
        for table, column in (("checkpoints", "checkpoint"), ("writes", "value")):
            for row, blob in connection.execute(
                f"SELECT rowid, {column} FROM {table} WHERE type = 'msgpack'"
            ).fetchall():
                value = strip(ormsgpack.unpackb(blob, ext_hook=hook, option=ormsgpack.OPT_NON_STR_KEYS))
                packed = ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (packed, row))
    connection.close()
    return count


@pytest.mark.parametrize("name", ["half", "finished"])
def test_a_new_field_of_the_configuration_counts_as_its_default(name: str, tmp_path: Path, capsys: Capture) -> None:
    file = unpacked(f"solver-{name}", tmp_path) / "run.sqlite"
    assert without(file, "gamma") > 2
    assert solved(capsys, file)[0] == solved(capsys, tmp_path / "whole.sqlite")[0]
    file = unpacked(f"solver-{name}", tmp_path / "other") / "run.sqlite"
    without(file, "gamma")
    assert command(asked(file, "--set", "gamma=3")) == 2
    assert "gamma: 4 there, 3 here" in capsys.readouterr().err


def rows_of(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    unpacked(f"evals-{name}", folder)
    monkeypatch.chdir(folder)
    argv = ["--data", "problems.jsonl", "--methods", "gsi,majority-draft", "--n", "2", "--out", "run"]
    assert evals_run(argv) == 0
    return {key: {**row, "schema": 0} for key, row in plain(read_rows("run")).items()}


def test_an_evals_folder(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    half = rows_of(tmp_path / "half", "half", monkeypatch)
    assert "3 to do" in capsys.readouterr().err
    finished = rows_of(tmp_path / "finished", "finished", monkeypatch)
    assert "0 to do" in capsys.readouterr().err
    assert half == finished
    assert len(half) == 6


@pytest.mark.parametrize("name", ["half", "finished"])
def test_a_neural_jko_folder(name: str, tmp_path: Path, capsys: Capture) -> None:
    """Its method was another: it is not gone on with, and what it made can be read."""
    unpacked(f"jko-{name}", tmp_path)
    assert system_jko.command(tmp_path) == 2
    error = capsys.readouterr().err
    assert "a run of version 0.1, which trained by another method" in error
    assert error.count("\n") == 1
    target = named("mustache")
    stack = load(tmp_path / "run", target)
    drawn = stack.sample(200, torch.Generator().manual_seed(0))
    assert [type(layer).__name__ for layer in stack.layers] == ["Flow", "Flow", "Rejection"][
        : 3 if name == "finished" else 1
    ]
    assert torch.allclose(stack.log_prob(drawn.x), drawn.log_prob, atol=1e-2)
