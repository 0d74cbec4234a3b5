"""Files and folders of earlier versions (commits 9e6f9ff and, by name, d9f3aab): what was finished can be read; what
was not is refused, since its steps were to end by another law."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
import torch
from langgraph.checkpoint.sqlite import SqliteSaver

from evals.__main__ import main as evals
from evals.rows.lines import read_rows
from gsi_node.errors import ResumeMismatch
from gsi_node.neural_jko import load, named
from gsi_node.types import default_id
from tests.crash import system_jko
from tests.crash.test_checkpoints import Capture, asked, solved
from tests.evals.run.test_run import plain
from tests.evals.tables import command as evals_run
from tests.graphs import tables
from tests.graphs.tables import command

FIXTURES = Path(__file__).parent / "fixtures"


def unpacked(name: str, folder: Path) -> Path:
    """A folder as it was left: "half" and "pending" ones by a process that was killed, the latter between the last
    writes and their checkpoint."""
    with tarfile.open(FIXTURES / f"{name}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def without_newer_counts(told: Any) -> Any:
    """As these files tell it: positions, and tokens of guesses, were not counted then."""
    if isinstance(told, dict):
        newer = ("generated_positions", "discarded_tokens")
        return {name: without_newer_counts(value) for name, value in told.items() if name not in newer}
    return [without_newer_counts(value) for value in told] if isinstance(told, list) else told


@pytest.mark.parametrize("name", ["finished", "finished-d9f3aab"])
def test_what_the_solver_finished_is_shown_again(name: str, tmp_path: Path, capsys: Capture) -> None:
    file = unpacked(f"solver-{name}", tmp_path) / "run.sqlite"
    whole, _ = solved(capsys, tmp_path / "whole.sqlite")
    assert whole["answer"] == "7"
    found, said = solved(capsys, file)
    assert "is finished" in said
    assert found == without_newer_counts(whole)
    assert command(asked(file, "--set", "gamma=3")) == 2
    assert "gamma: 4 there, 3 here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["half", "pending", "half-d9f3aab", "pending-d9f3aab"])
def test_an_unfinished_solvers_checkpoint_is_refused_by_version_and_kept(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    file = unpacked(f"solver-{name}", tmp_path) / "run.sqlite"
    kept = contents(file)
    assert command(asked(file)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"error: thread t of {file} was begun under version 1 of the sampling law, where a step ended at one token "
        "that contains a blank line; this gsi_node draws under version 2: name another --thread\n"
    )
    assert contents(file) == kept
    assert command(asked(file, thread="other")) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "7"
    assert kept <= contents(file)


def contents(file: Path) -> set[Any]:
    """Every row of a checkpoint file."""
    with sqlite3.connect(file) as connection:
        rows = {
            (name, *row) for name in ("checkpoints", "writes") for row in connection.execute(f"SELECT * FROM {name}")
        }
    connection.close()
    return rows


def test_a_sample_that_an_earlier_run_asked_for_is_refused(tmp_path: Path) -> None:
    """A sample that had not begun would else be drawn under this law, beside others under the earlier one."""
    file = tmp_path / "run.sqlite"

    def call(given: Any, **more: Any) -> Any:
        with SqliteSaver.from_conn_string(str(file)) as saver:
            return tables.compiled(checkpointer=saver).invoke(given, {"configurable": {"thread_id": "t"}}, **more)

    call({"problem": "two", "n_samples": 2}, interrupt_before=["solve"])
    assert without(file, "sampling_law") > 0
    with pytest.raises(ResumeMismatch, match=r"version 1 of the sampling law.*begin on a new thread_id"):
        call(None)


def without(file: Path, field: str) -> int:
    """Take a field of the configuration out of a checkpoint file, as if it were new since; how many entries had it."""
    count = 0

    def hook(code: int, data: bytes) -> Any:
        value = strip(ormsgpack.unpackb(data, ext_hook=hook, option=ormsgpack.OPT_NON_STR_KEYS))
        return ormsgpack.Ext(code, ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS))

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


@pytest.mark.parametrize("finished", [False, True])
def test_a_new_field_of_the_configuration_counts_as_its_default(
    finished: bool, tmp_path: Path, capsys: Capture
) -> None:
    def begun(name: str) -> Path:
        parts = tables.models()
        parts["draft"].fail_at = None if finished else (default_id("two"), 2)
        assert command(asked(tmp_path / name), parts) == (0 if finished else 1)
        capsys.readouterr()
        assert without(tmp_path / name, "gamma") > 2
        return tmp_path / name

    found, said = solved(capsys, begun("run.sqlite"))
    assert ("is finished" if finished else "is resumed") in said
    assert found == solved(capsys, tmp_path / "whole.sqlite")[0]
    assert command(asked(begun("other.sqlite"), "--set", "gamma=3")) == 2
    assert "gamma: 4 there, 3 here" in capsys.readouterr().err


EVALS = ["--data", "problems.jsonl", "--methods", "gsi,majority-draft", "--n", "2", "--out"]


@pytest.mark.parametrize("name", ["half", "finished", "half-d9f3aab", "finished-d9f3aab"])
def test_an_evals_folder_is_refused_by_version_and_can_be_read(
    name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unpacked(f"evals-{name}", tmp_path))
    kept = {file.name: file.read_bytes() for file in Path("run").iterdir()}
    for more in ([], ["--repair"], ["--seeds", "0,1"]):
        assert evals_run([*EVALS, "run", *more]) == 2
        assert capsys.readouterr().err.endswith(
            "error: run was begun under version 1 of the sampling law, where a step ended at one token that contains a "
            "blank line; this gsi_node draws under version 2: name another --out; `evals report` reads this one\n"
        )
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == kept
    assert evals_run([*EVALS, "new"]) == 0
    told = {"schema": 0, "commit": None}  # of the files, not of the runs
    old, new = ({key: {**row, **told} for key, row in plain(read_rows(out)).items()} for out in ("run", "new"))
    assert len(new) == 6
    assert old == {key: new[key] for key in old} and len(old) == (6 if "finished" in name else 3)
    assert evals(["report", "run"]) == 0
    assert evals(["compare", "run", "new"]) == 0
    assert "sampling_law" in capsys.readouterr().out
    assert evals(["merge", "run", "new", "--out", "both"]) == 2
    assert "sampling_law: 1 there, 2 here" in capsys.readouterr().err


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
