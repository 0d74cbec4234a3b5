"""python -m evals merge: one folder of several runs, whole or not there, that reports and goes on; what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evals.__main__ import main as evals
from evals.rows.lines import read_rows
from evals.run.config import read_config
from evals.run.merge import merge
from gsi_node.errors import StorageError
from tests.evals.run.test_run import plain
from tests.evals.synthetic import campaign, config_of, write
from tests.evals.tables import command, problems

Capture = pytest.CaptureFixture[str]


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(folder: Path, out: str, *more: str) -> Path:
    """A run over table models."""
    argv = [
        "--data",
        str(folder / "problems.jsonl"),
        "--n",
        "2",
        "--methods",
        "draft",
        "--out",
        str(folder / out),
        *more,
    ]
    assert command(argv) == 0
    return folder / out


def test_a_merged_folder_reports_and_goes_on(tmp_path: Path, capsys: Capture) -> None:
    problems(tmp_path, 4)
    one = run(tmp_path, "a", "--shard", "0/2")
    two = run(tmp_path, "b", "--shard", "1/2")
    three = run(tmp_path, "c", "--methods", "gsi", "--seeds", "1")
    before = [everything(folder) for folder in (one, two, three)]
    out = tmp_path / "new" / "merged"
    assert evals(["merge", str(one), str(two), str(three), "--out", str(out)]) == 0
    assert "8 rows of 3 folders: python -m evals report" in capsys.readouterr().err
    assert [everything(folder) for folder in (one, two, three)] == before
    assert sorted(path.name for path in out.parent.rglob("*")) == ["config.json", "merged", "results.jsonl"]
    assert plain(read_rows(out)) == {k: v for folder in (one, two, three) for k, v in plain(read_rows(folder)).items()}
    config = read_config(out)
    assert (config.methods, config.seeds, config.specs.keys()) == (["draft", "gsi"], [0, 1], config.fingerprints.keys())
    assert evals(["report", str(out), "--no-plots"]) == 0
    capsys.readouterr()
    run(tmp_path, "new/merged")
    assert "4 rows: 4 problems" in (told := capsys.readouterr().err) and "0 to do" in told
    run(tmp_path, "new/merged", "--seeds", "1")
    assert len(read_rows(out)) == 12


def test_folders_with_equal_rows_and_more_problems_are_merged(tmp_path: Path, capsys: Capture) -> None:
    problems(tmp_path, 6)
    small = run(tmp_path, "small", "--limit", "2")
    large = tmp_path / "large"
    assert merge([small, run(tmp_path, "more", "--limit", "4", "--seeds", "1")], large) == 6
    assert merge([small, large], tmp_path / "again") == 6  # the two rows that both have count once
    assert read_config(tmp_path / "again") == read_config(large)
    assert (read_config(large).limit, read_config(large).problems) == (4, 4)
    capsys.readouterr()


def test_what_does_not_fit_together_is_refused_in_one_line_by_name(tmp_path: Path, capsys: Capture) -> None:
    rows = list(campaign(3, ("gsi",), (1,), (0,)))
    first, same = write(tmp_path / "first", rows), write(tmp_path / "same", rows)
    unlike = write(tmp_path / "unlike", [row | {"seconds": 9.0} for row in rows])
    beta = write(tmp_path / "beta", [], {"config": config_of()["config"] | {"beta": 5.0}})
    other = write(tmp_path / "other", [], {"problems": 7, "problems_digest": "1" * 32})
    weights = write(tmp_path / "weights", [], {"fingerprints": {"draft": "x", "base": "base", "reward": "reward"}})
    damaged = write(tmp_path / "damaged", rows)
    (damaged / "results.jsonl").write_bytes(b"{}\n")
    nowhere, empty = tmp_path / "nowhere", tmp_path / "empty"
    empty.mkdir()
    refused = [
        ([first], "two run folders or more"),
        ([first, first], "named twice"),
        ([first, nowhere], f"{nowhere}: no config.json in it"),
        ([first, empty], f"{empty}: no config.json in it"),
        ([first, damaged], f"{damaged}/results.jsonl, line 1: "),
        ([first, unlike], f"{unlike} and {first} have different rows of problem pocket-0, gsi, n = 1, seed 0"),
        ([first, beta], f"{beta} is of another configuration than {first} (config.beta: 20.0 there, 5.0 here)"),
        ([first, weights], "(fingerprints.draft: 'draft' there, 'x' here)"),
        ([first, other], "(problems: 30 there, 7 here; problems_digest: "),
    ]
    for folders, told in refused:
        assert evals(["merge", *map(str, folders), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert told in error and error.startswith("error: ") and error.count("\n") == 1, folders
        assert not (tmp_path / "out").exists()
    for out in (first, tmp_path / "first" / "config.json"):
        assert evals(["merge", str(first), str(same), "--out", str(out)]) == 2
        assert "is there already; name a new folder" in capsys.readouterr().err
    assert evals(["merge", str(first), str(same), "--out", str(empty)]) == 0  # an empty folder is as good as none
    assert len(read_rows(empty)) == 3
    capsys.readouterr()


def test_of_a_row_made_twice_the_one_that_counts_is_kept(tmp_path: Path) -> None:
    rows = list(campaign(2, ("gsi",), (1,), (0,)))
    error = {"type": "BackendError", "message": "broke"}
    folder = write(tmp_path / "a", [rows[0] | {"error": error, "correct": None}, *rows])
    whole = (folder / "results.jsonl").read_bytes().splitlines(keepends=True)
    with (folder / "results.jsonl").open("ab") as file:
        file.write(b'{"schema": 2, "cut off')
    assert merge([folder, write(tmp_path / "b", [])], tmp_path / "out") == 2
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == b"".join(whole[1:])


@pytest.mark.parametrize("call", ["mkdir", "fsync", "replace", "rename"])
def test_a_kill_leaves_no_half_and_the_same_command_merges(call: str, tmp_path: Path) -> None:
    rows = list(campaign(4, ("gsi",), (1,), (0,)))
    folders = [write(tmp_path / "a", rows[:2]), write(tmp_path / "b", rows[2:])]
    child = os.fork()
    if child == 0:
        setattr(os, call, lambda *given, **more: os._exit(9))
        merge(folders, tmp_path / "out")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "out").exists()
    assert merge(folders, tmp_path / "out") == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(campaign(4, ("gsi",), (1,), (0,)))
    folders = [write(tmp_path / "a", rows[:2]), write(tmp_path / "b", rows[2:])]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot be written"):
        merge(folders, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
