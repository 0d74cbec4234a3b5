"""python -m evals run over table models: rows, going on, refusals, failures, deaths of workers, time limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.rows.lines import read_rows
from evals.rows.row import Row
from evals.run.command import FEW_ROWS
from tests.evals.tables import command, problems

Capture = pytest.CaptureFixture[str]


def arguments(folder: Path, *more: str, count: int = 3) -> list[str]:
    return ["--data", str(problems(folder, count)), "--out", str(folder / "run"), *more]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "results.jsonl").read_text().splitlines()]


def plain(rows: list[Row]) -> dict[Any, Any]:
    """Rows by key, without what may differ between equal runs."""
    timed = {"seconds", "models_seconds", "worker", "workers", "concurrency", "peak_memory_bytes", "usage"}
    return {row.key: row.model_dump(exclude=timed) for row in rows}


def test_a_row_for_each_problem_method_n_and_seed(tmp_path: Path, capsys: Capture) -> None:
    methods = "gsi,rsd-n,sbon-base,draft,majority-draft"
    argv = arguments(tmp_path, "--methods", methods, "--n", "1,4", "--seeds", "0,1", "--workers", "2")
    assert command(argv) == 0
    rows = read_rows(tmp_path / "run")
    want = {
        (f"p{i}", method, n, seed)
        for i in range(3)
        for method in methods.split(",")
        for n in ((1,) if method == "draft" else (1, 4))
        for seed in (0, 1)
    }
    assert {row.key for row in rows} == want
    assert len(lines(tmp_path)) == len(want)
    for row in rows:
        assert row.correct == (row.predicted == "7")
        assert row.gold == "7"
        assert row.error is None
        assert row.stop_reason == "eos"
        assert row.response.endswith("}")
        assert (row.concurrency, row.workers) == (1, 2)
        assert all(
            "token_ids" not in step and step["n_tokens"] == len(step["text"]) + (i == 5)
            for i, step in enumerate(row.model_dump()["steps"])
        )
        assert sum(len(vote.voters) for vote in row.votes or ()) == (0 if row.votes is None else row.n)
        assert (row.acceptance_rate is None) == row.method.startswith("majority")
        assert row.models_seconds is not None
        assert 0 < row.models_seconds < row.seconds
    assert {row.worker for row in rows} == {"process-1", "process-2"}
    by_key = {row.key: row for row in rows}  # a short run keeps its candidates
    assert by_key["p0", "gsi", 4, 0].model_dump()["steps"][0]["candidates"][0]["n_tokens"] > 0
    assert len(rows) <= FEW_ROWS
    assert "all rows are there" in capsys.readouterr().err
    assert command(argv) == 0  # nothing is left, nothing is added
    assert len(lines(tmp_path)) == len(want)
    capsys.readouterr()


def test_samples_are_not_shared_unless_asked(tmp_path: Path, capsys: Capture) -> None:
    """With shared samples the draft's first candidates are the same for both methods and all n; else they are not."""
    found = {}
    for name, more in (("own", ()), ("shared", ("--share-samples",))):
        folder = tmp_path / name
        folder.mkdir()
        argv = arguments(folder, "--methods", "gsi-no-fallback,sbon-draft", "--n", "4,6", *more, count=12)
        assert command(argv) == 0
        drafts: dict[str, list[Any]] = {}
        for row in read_rows(folder / "run"):
            texts = [candidate.text for candidate in row.steps[0].candidates or ()][:4]
            drafts.setdefault(row.problem_id, []).append(texts)
        found[name] = sum(one == others[0] for others in drafts.values() for one in others[1:])
    assert found["shared"] == 3 * 12
    assert found["own"] < 12
    capsys.readouterr()


def test_concurrency_and_workers_do_not_change_a_row(tmp_path: Path, capsys: Capture) -> None:
    found = []
    for name, more in (("a", ("--concurrency", "3")), ("b", ("--workers", "2"))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run").mkdir()
        assert command([*arguments(folder, "--methods", "gsi,rsd", "--n", "3", *more, count=5)]) == 0
        found.append(plain(read_rows(folder / "run")))
    for row in found[0].values():
        row["data"] = ""
    for row in found[1].values():
        row["data"] = ""
    assert found[0] == found[1]
    capsys.readouterr()


def test_a_failed_problem_is_a_row_and_can_be_tried_again(tmp_path: Path, capsys: Capture) -> None:
    argv = arguments(tmp_path, "--draft", "raise:problem 1.")
    assert command(argv) == 3
    told = capsys.readouterr().err
    assert "1 of 3 rows failed" in told
    assert "BackendError: model draft broke at 'problem 1.'" in told
    failed = [row for row in read_rows(tmp_path / "run") if row.error is not None]
    assert [(row.problem_id, row.correct, row.response) for row in failed] == [("p1", None, "")]
    assert command(argv) == 3  # not tried again unless asked
    assert len(lines(tmp_path)) == 3
    assert command([*argv, "--retry-errors"]) == 3
    assert len(lines(tmp_path)) == 4
    assert len(read_rows(tmp_path / "run")) == 3
    capsys.readouterr()


def test_an_error_that_is_a_bug_comes_with_its_traceback(tmp_path: Path, capsys: Capture) -> None:
    assert command(arguments(tmp_path, "--draft", "bug:problem 2.")) == 3
    (error,) = [row.error for row in read_rows(tmp_path / "run") if row.error is not None]
    assert error.type == "KeyError"
    assert "in sample" in (error.traceback or "")
    capsys.readouterr()


def test_a_worker_that_dies_is_replaced_and_its_row_is_made(tmp_path: Path, capsys: Capture) -> None:
    argv = arguments(tmp_path, "--draft", f"die:{tmp_path / 'flag'}", "--workers", "2", count=4)
    assert command(argv) == 0
    assert "died (by signal 9)" in capsys.readouterr().err
    assert sorted(row["problem_id"] for row in lines(tmp_path)) == ["p0", "p1", "p2", "p3"]


def test_a_row_that_kills_every_worker_is_a_failed_row(tmp_path: Path, capsys: Capture) -> None:
    assert command(arguments(tmp_path, "--draft", "always-die:problem 1.")) == 3
    errors = {row.problem_id: row.error for row in read_rows(tmp_path / "run")}
    assert errors["p1"] is not None
    assert "2 workers died with this row in hand" in errors["p1"].message
    assert errors["p0"] is errors["p2"] is None
    capsys.readouterr()


def test_no_minutes_make_no_row_and_the_run_goes_on_without_the_limit(tmp_path: Path, capsys: Capture) -> None:
    argv = arguments(tmp_path)
    assert command([*argv, "--minutes", "0"]) == 4
    assert lines(tmp_path) == []
    assert "3 of 3 rows are left; to go on:" in capsys.readouterr().err
    assert command(argv) == 0
    assert len(lines(tmp_path)) == 3
    assert command([*argv, "--minutes", "0"]) == 0  # nothing was left to begin
    capsys.readouterr()


def test_shards_write_files_of_their_own_and_together_every_row(tmp_path: Path, capsys: Capture) -> None:
    argv = arguments(tmp_path, "--methods", "gsi,draft", "--n", "2", count=5)
    assert command([*argv, "--shard", "0/2"]) == 0
    assert len(read_rows(tmp_path / "run")) == 6
    assert command([*argv, "--shard", "1/2"]) == 0
    assert len(read_rows(tmp_path / "run")) == 10
    assert {file.name for file in (tmp_path / "run").glob("results*")} == {
        "results.shard-0-of-2.jsonl",
        "results.shard-1-of-2.jsonl",
    }
    capsys.readouterr()
