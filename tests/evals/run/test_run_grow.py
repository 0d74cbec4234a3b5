"""A run folder that grows: more n, seeds, methods and problems beside the rows that are there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from evals.__main__ import main as evals
from evals.data.problems import Problem
from evals.rows.lines import read_rows
from evals.run.config import read_config
from evals.run.folder import keep
from gsi_node.errors import ResumeMismatch
from tests.evals.rows.test_rows import PLAN
from tests.evals.run.test_run import plain
from tests.evals.tables import command, problems

Capture = pytest.CaptureFixture[str]
PRINTS = {"draft": "1", "base": "2", "reward": "3"}
MORE = replace(
    PLAN, ns=(1, 4), seeds=(0, 1), methods=("gsi", "rsd-n"), problems=(*PLAN.problems, Problem("d", "?", "7", "math"))
)


def arguments(folder: Path, *more: str, count: int = 2) -> list[str]:
    return ["--data", str(problems(folder, count)), "--out", str(folder / "run"), *more]


def test_more_of_everything_is_added_and_what_was_there_is_kept(tmp_path: Path, capsys: Capture) -> None:
    assert command(arguments(tmp_path, "--methods", "draft,sbon-base", "--n", "2")) == 0
    results = tmp_path / "run" / "results.jsonl"
    before = results.read_bytes()
    assert command(arguments(tmp_path, "--methods", "gsi", "--n", "2,4", "--seeds", "1", count=3)) == 0
    assert "6 rows: 3 problems" in capsys.readouterr().err
    assert results.read_bytes().startswith(before)
    config = read_config(tmp_path / "run")
    assert (config.methods, config.n, config.seeds) == (["draft", "sbon-base", "gsi"], [2, 4], [0, 1])
    assert (config.problems, sorted(config.specs), sorted(config.fingerprints)) == (
        3,
        *[["base", "draft", "reward"]] * 2,
    )
    whole = results.read_bytes()
    assert command(arguments(tmp_path, "--methods", "gsi", "--n", "4", "--seeds", "1", count=3)) == 0
    assert results.read_bytes() == whole  # a part of it goes on, and has nothing to do
    capsys.readouterr()
    assert evals(["report", str(tmp_path / "run"), "--no-plots"]) == 0
    told = capsys.readouterr().out
    assert [f"| {method} " in told for method in ("draft", "sbon-base", "gsi")] == [True] * 3
    fresh = tmp_path / "fresh"
    for argv in (["--methods", "draft,sbon-base", "--n", "2"], ["--methods", "gsi", "--n", "2,4", "--seeds", "1"]):
        assert command([*arguments(tmp_path, *argv, count=3), "--out", str(fresh)]) == 0
    grown, made = plain(read_rows(tmp_path / "run")), plain(read_rows(fresh))
    assert grown == {key: made[key] for key in grown}
    capsys.readouterr()


def test_a_larger_limit_keeps_the_problems_of_a_smaller_one(tmp_path: Path, capsys: Capture) -> None:
    for limit in ("2", "5", "2"):
        assert command(arguments(tmp_path, "--methods", "draft", "--limit", limit, count=9)) == 0
        assert "all rows are there" in capsys.readouterr().err
    assert len(read_rows(tmp_path / "run")) == 5
    assert (read_config(tmp_path / "run").limit, read_config(tmp_path / "run").problems) == (5, 5)


def test_problems_before_and_between_the_old_ones_are_more_problems_where_the_old_have_rows(
    tmp_path: Path, capsys: Capture
) -> None:
    argv = arguments(tmp_path, "--methods", "draft", count=2)
    assert command(argv) == 0
    file = problems(tmp_path, 2)
    first, second = file.read_text().splitlines()
    new = [json.dumps({"id": name, "problem": f"problem {name}.", "answer": "7"}) for name in ("x", "y")]
    file.write_text("\n".join([new[0], first, new[1], second]))
    assert command(argv) == 0
    assert "4 problems" in capsys.readouterr().err
    assert len(read_rows(tmp_path / "run")) == 4


@pytest.mark.parametrize(("old", "new"), [('"7"', '"8"'), ("problem 1.", "problem one."), ('"p1"', '"q1"')])
def test_other_problems_are_not_more_problems(old: str, new: str, tmp_path: Path, capsys: Capture) -> None:
    assert command(arguments(tmp_path, "--methods", "draft")) == 0
    before = (tmp_path / "run" / "config.json").read_bytes()
    argv = arguments(tmp_path, "--methods", "draft", count=3)
    file = tmp_path / "problems.jsonl"
    file.write_text(file.read_text().replace(old, new))
    capsys.readouterr()
    assert command(argv) == 2
    told = capsys.readouterr().err
    assert "was begun with another configuration (problems: 2 there, 3 here; problems_digest: " in told
    assert told.count("\n") == 1
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_what_rows_are_kept_with_is_the_folders_own(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short run keeps candidates, and so does what is added to it, however long it gets."""
    assert command(arguments(tmp_path, "--methods", "draft")) == 0
    monkeypatch.setattr("evals.run.command.FEW_ROWS", 2)
    assert command(arguments(tmp_path, "--methods", "gsi", "--n", "2", "--seeds", "0,1")) == 0
    assert "record=candidates" in capsys.readouterr().err
    assert all(step.candidates for row in read_rows(tmp_path / "run") for step in row.steps)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_while_a_folder_grows_leaves_the_old_or_the_new_configuration(
    call: str, after: bool, tmp_path: Path
) -> None:
    keep(tmp_path, PLAN, PRINTS)
    old = read_config(tmp_path)
    child = os.fork()
    if child == 0:
        real = getattr(os, call)

        def ends(*given: object, **more: object) -> object:
            if after:
                real(*given, **more)
            os._exit(9)

        setattr(os, call, ends)
        keep(tmp_path, MORE, PRINTS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    grown = read_config(tmp_path)
    assert (grown == old) != (after and call == "replace")
    keep(tmp_path, MORE, PRINTS)
    assert read_config(tmp_path).n == [1, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    keep(tmp_path, replace(MORE, ns=(1,)), PRINTS)
    assert read_config(tmp_path).n == [1, 4]


def test_models_that_are_others_are_refused_also_where_the_folder_would_grow(tmp_path: Path) -> None:
    keep(tmp_path, PLAN, PRINTS)
    with pytest.raises(ResumeMismatch, match=r"\(fingerprints\.base: '2' there, '4' here\)"):
        keep(tmp_path, MORE, {**PRINTS, "base": "4"})
    assert read_config(tmp_path).n == [1]
