"""`evals run --without FILE`: what is left out, and the refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.__main__ import main as evals
from evals.data.dropped import ComparedSet, Likeness, save, without
from evals.data.problems import Problem
from gsi_node.errors import ConfigError

PROBLEMS = [Problem(str(k), f"What is {k} + 1?", str(k + 1), "math") for k in range(4)]
COMPARED = ComparedSet(kept=["0", "2", "3", "9"], dropped={"1": Likeness(overlap=0.5, like="7")})


def test_what_is_like_a_training_problem_is_left_out(tmp_path: Path) -> None:
    save({"mine": COMPARED}, tmp_path / "overlap.json")
    assert without(PROBLEMS, "mine", tmp_path / "overlap.json") == [PROBLEMS[0], *PROBLEMS[2:]]


def test_a_set_a_problem_or_a_file_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "overlap.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        without(PROBLEMS, "mine", file)
    save({"mine": COMPARED}, file)
    with pytest.raises(ConfigError, match="knows nothing of yours; give it to `evals train-reward` by --against"):
        without(PROBLEMS, "yours", file)
    with pytest.raises(ConfigError, match="problem '12' of mine was not compared"):
        without([*PROBLEMS, Problem("12", "?", "1", "math")], "mine", file)
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.6"))
    with pytest.raises(ConfigError, match="damaged"):
        without(PROBLEMS, "mine", file)
    file.write_text('{"schema": 1, "rows": 3}\n')
    with pytest.raises(ConfigError, match="not of a training: sets"):
        without(PROBLEMS, "mine", file)


def test_a_run_leaves_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "mine.jsonl", tmp_path / "overlap.json"
    data.write_text(
        "".join(json.dumps({"id": p.id, "problem": p.problem, "answer": p.answer}) + "\n" for p in PROBLEMS)
    )
    save({str(data): COMPARED}, file)
    argv = ["run", "--data", str(data), "--methods", "base", "--n", "1", "--out", str(tmp_path / "out"), "--dry-run"]
    assert evals([*argv, "--without", str(file)]) == 0
    assert f"3 rows: 3 problems of {data}" in capsys.readouterr().err
    assert evals(argv) == 0
    assert f"4 rows: 4 problems of {data}" in capsys.readouterr().err
