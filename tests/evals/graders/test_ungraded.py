"""Grading that reaches its limit, or whose process dies, leaves a row ungraded: not wrong, apart, and tried again."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.__main__ import main as evals
from evals.data.problems import Problem, Ungraded
from evals.graders.grading import SHORT_RESPONSE, Grader
from evals.graders.messages import GradeRequest
from evals.graders.pool import Pool, ProcessDied, TimedOut
from evals.rows.lines import read_rows, to_line
from evals.rows.sealed import sealed, unsealed
from evals.run.plan import Plan, Task, Workplace
from evals.run.solve import Solver
from tests.evals.synthetic import campaign, write
from tests.evals.tables import command, load_part, problems

Capture = pytest.CaptureFixture[str]
MATH = Problem("p", "?", "x + x", "math")
TERMS = [rf"x+{k}+\sum_{{k=1}}^{{500}}\sqrt{{k}}" for k in range(10)]
GOLD, SLOW = "; ".join(TERMS), "; ".join(f"1-1+{term}" for term in reversed(TERMS))  # seconds of work to compare
HARD = Problem("h", "?", GOLD, "math")


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=1.0) as grader:
        yield grader


def test_the_limit_is_not_a_wrong_answer(grader: Grader) -> None:
    grade = grader.grade(HARD, rf"\boxed{{{SLOW}}}")
    assert (grade.correct, grade.predicted) == (None, SLOW)
    assert grade.reason == "grading took longer than 1 s of processor time"
    assert grader.grade(MATH, r"\boxed{2x}").correct is True
    with pytest.raises(Ungraded):
        grader.same(HARD, GOLD, SLOW)


@pytest.mark.parametrize("trouble", [TimedOut, ProcessDied("the grading process died")])
def test_trouble_in_a_request_is_no_verdict(trouble: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Pool, request: object, seconds: float) -> None:
        raise trouble

    monkeypatch.setattr(Pool, "ask", fail)
    grade = Grader().grade(MATH, r"\boxed{2x}")
    assert grade.correct is None
    assert grade.reason in ("grading took longer than 5 s of processor time", "the grading process died")


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("5", r"\boxed{5" + r"\text{ cm} " * 24 + "= 5}"),
        (r"\text{ cm} " * 24 + "!", r"\boxed{5}"),
        ("5", r"\boxed{" + "5 " * 900 + "}"),
        ("5", r"\boxed{" + r"\boxed{" * 20_000 + "5" + "}" * 3),
        ("5", r"\boxed{5}" * 200_000),
        ("5", "}" * 1_999_000),
    ],
)
@pytest.mark.parametrize("kind", ["math", "olympiad", "exact", "choice"])
def test_no_text_costs_more_than_the_limit(grader: Grader, gold: str, response: str, kind: str) -> None:
    """The texts are compared, and the box of a long response is found, inside the limit as well."""
    meta = {"choices": ["1", "2"]} if kind == "choice" else {}
    begun, own = time.monotonic(), time.process_time()
    grader.grade(Problem("p", "?", gold, kind, meta), response)
    assert time.process_time() - own < 1.0  # of this process: it is not blocked
    assert time.monotonic() - begun < 60  # the limit is of processor time, on a busy machine


def test_a_short_response_is_read_here_in_no_time() -> None:
    grader = Grader()
    for text in ("{", "}", r"\boxed{", r"\boxed", r"\boxed ", "\\", r"\boxed{}"):
        begun = time.thread_time()
        grader.grade(MATH, text * (SHORT_RESPONSE // len(text)))
        assert time.thread_time() - begun < 0.2


def test_a_response_beyond_all_measure_is_wrong_unseen(grader: Grader) -> None:
    grade = grader.grade(MATH, r"\boxed{2x}" + " " * 2_000_000)
    assert (grade.correct, grade.reason) == (False, "a response of 2000010 characters is too long")


def burn(until: float) -> None:
    while time.monotonic() < until:
        pass


def test_load_on_the_machine_changes_no_verdict() -> None:
    """Under a limit little above what a comparison takes alone, it is decided alike beside processes that crowd it."""
    request: GradeRequest = {
        "kind": "math",
        "meta": {},
        "gold": r"\sqrt{2}+x",
        "predicted": "(x+y)^{40}-(y+x)^{40}",
        "by_text": True,
    }
    pool = Pool(1)
    spent = max(pool.ask(request | {"predicted": f"{k}+(x+y)^{{40}}"}, 30)["spent"] for k in range(3))
    crowd = [
        multiprocessing.get_context("spawn").Process(target=burn, args=(time.monotonic() + 20,), daemon=True)
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    for process in crowd:
        process.start()
    try:
        replies = [pool.ask(request | {"predicted": f"{k}+(x+y)^{{40}}"}, 4 * spent + 0.1) for k in range(10, 20)]
    finally:
        for process in crowd:
            process.kill()
            process.join()
        pool.close()
    assert [reply["equal"] for reply in replies] == [False] * 10


def test_a_vote_has_one_limit_for_all_of_its_comparisons(grader: Grader) -> None:
    vote = grader.limited(0.5)
    begun = time.monotonic()
    for k in range(200):
        grade = vote.grade(HARD, rf"\boxed{{{SLOW}+{k}}}")
        assert grade.correct is None
    assert grade.reason == "grading a vote took longer than 0.5 s of processor time"
    with pytest.raises(Ungraded, match=r"grading a vote took longer than 0\.5 s"):
        vote.same(MATH, "x", "2x + y")
    assert vote.same(MATH, "3", "3.0")  # what needs no process has no limit
    assert time.monotonic() - begun < 60
    assert grader.grade(MATH, r"\boxed{2x}").correct is True  # the others are as before


def plan(answer: str, method: str) -> Plan:
    return Plan(
        data="made",
        problems=(Problem("p", "problem.", answer, "math"),),
        methods=(method,),
        ns=(3,),
        seeds=(0,),
        specs={"draft": "table", "base": "-", "reward": "-"},
        fields={"beta": 4.0},
        record="summary",
    )


@pytest.mark.parametrize("method", ["gsi", "majority-draft"])
def test_a_row_says_that_it_is_ungraded(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: Pool, request: object, seconds: float) -> None:
        raise TimedOut

    monkeypatch.setattr("evals.graders.grading._plainly", lambda *about: None)
    monkeypatch.setattr(Pool, "ask", late)
    solver = Solver(plan("7", method), Workplace(), load_part)
    try:
        task = Task(0, method, 3, 0)
        future = solver.submit(task)
        future.exception()
        row = solver.finished(task, future)
    finally:
        solver.close()
    assert row.error is None
    assert row.correct is None
    assert row.ungraded == "grading took longer than 5 s of processor time"
    assert row.response
    assert row.usage


def ungrade(folder: Path, place: int) -> None:
    """Rewrite the row at `place` as one whose grading did not end."""
    rows = read_rows(folder)
    lost = {"correct": None, "ungraded": "the grading process died", "predicted": None}
    rows[place] = rows[place].model_copy(update=lost)
    (folder / "results.jsonl").write_bytes(b"".join(map(to_line, rows)))


@pytest.mark.parametrize(("method", "models"), [("gsi", False), ("majority-draft", True)])
def test_the_same_command_grades_again_without_the_models_where_it_can(
    method: str, models: bool, tmp_path: Path, capsys: Capture
) -> None:
    argv = ["--data", str(problems(tmp_path, 3)), "--out", str(tmp_path / "run"), "--n", "2", "--methods", method]
    assert command(argv) == 0
    before = read_rows(tmp_path / "run")
    ungrade(tmp_path / "run", 1)
    capsys.readouterr()
    if not models:  # the models of this spec cannot be loaded, and are not asked
        config = tmp_path / "run" / "config.json"
        kept, _ = unsealed(config.read_bytes(), "-")
        kept["specs"]["draft"] = "absent"
        config.write_bytes(sealed(json.dumps(kept).encode()))
        argv += ["--draft", "absent"]
    assert command(argv) == 0
    told = capsys.readouterr().err
    assert ("1 ungraded rows: 1 are graded now" in told) is not models
    after = {row.problem_id: row.correct for row in read_rows(tmp_path / "run")}
    assert after == {row.problem_id: row.correct for row in before}


def test_what_stays_ungraded_is_told_by_exit_code_3(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--data", str(problems(tmp_path, 3)), "--out", str(tmp_path / "run"), "--n", "2"]
    assert command(argv) == 0
    ungrade(tmp_path / "run", 1)

    def die(self: Pool, request: object, seconds: float) -> None:
        raise ProcessDied("the grading process died")

    monkeypatch.setattr("evals.graders.grading._plainly", lambda *about: None)
    monkeypatch.setattr(Pool, "ask", die)
    capsys.readouterr()
    assert command(argv) == 3
    told = capsys.readouterr().err
    assert "1 ungraded rows: 0 are graded now" in told
    assert "1 of 3 rows are ungraded; the same command tries them again" in told


def test_the_limits_are_part_of_what_a_run_is(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--data", str(problems(tmp_path, 1)), "--out", str(tmp_path / "run"), "--n", "2"]
    assert command(argv) == 0
    for option, name in (("--grading-seconds", "grading_seconds"), ("--vote-seconds", "vote_seconds")):
        assert command([*argv, option, "7"]) == 2
        assert f"{name}: " in capsys.readouterr().err
        for text in ("0", "nan", "inf", "-1", "x"):
            assert command([*argv, option, text]) == 2
            assert f"argument {option}: want a " in capsys.readouterr().err


def test_a_row_that_takes_too_long_is_given_up(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--data", str(problems(tmp_path, 2)), "--out", str(tmp_path / "run"), "--n", "2", "--draft", "slow:0.4"]
    assert command([*argv, "--row-seconds", "0.5"]) == 3
    errors = [row.error for row in read_rows(tmp_path / "run")]
    assert [(error.type, error.message) for error in errors if error] == [
        ("Cancelled", "the row took longer than --row-seconds 0.5")
    ] * 2
    assert command([*argv, "--retry-errors", "--row-seconds", "600"]) == 0  # no part of what the run is
    assert all(row.error is None for row in read_rows(tmp_path / "run"))
    capsys.readouterr()


def test_reports_count_ungraded_rows_apart(tmp_path: Path, capsys: Capture) -> None:
    rows = list(campaign(10, ("gsi", "sbon-base"), (4,), (0,)))
    for row in rows:
        row["correct"] = row["index"] % 2 == 0
    lost = {"correct": None, "ungraded": "the grading process died", "predicted": None, "reason": None}
    left = [row | lost if row["method"] == "gsi" and row["index"] in (1, 3) else row for row in rows]
    folder = write(tmp_path / "run", left)
    assert evals(["report", str(folder), "--no-plots"]) == 0
    summary = json.loads((folder / "report" / "summary.json").read_text())
    gsi, base = summary["settings"]
    assert (gsi["rows"], gsi["ungraded"], gsi["accuracy"]["rows"], gsi["accuracy"]["value"]) == (10, 2, 8, 5 / 8)
    assert (base["ungraded"], base["accuracy"]["value"]) == (0, 0.5)
    assert summary["ungraded"] == 2
    assert summary["pairs"][0]["problems"] == 8
    assert gsi["seconds"]["total"]["rows"] == 10  # what they cost is known
    told = capsys.readouterr().out
    assert "gsi, n = 4: 2 of 10 rows are ungraded. They are in no accuracy" in told
    assert "which they could move by 20 points" in told
    page = (folder / "report" / "report.html").read_text()
    assert '"c":"ungraded"' in page
    other = write(tmp_path / "other", rows)
    assert evals(["compare", str(other), str(folder)]) == 0
    told = capsys.readouterr().out
    assert "Ungraded rows, in no accuracy or difference: 0 in A, 2 in B." in told
    line = next(line for line in told.splitlines() if line.startswith("| pocket: gsi"))
    assert [cell.strip() for cell in line.split("|")[2:5]] == ["8 × 1", "0.625", "0.625"]
    none = write(tmp_path / "none", [row | lost if row["method"] == "gsi" else row for row in rows])
    assert evals(["report", str(none), "--no-plots"]) == 0
    assert "gsi, n = 4 is left out: none of its 10 rows is graded." in capsys.readouterr().out
    nothing = write(tmp_path / "nothing", [row | lost for row in rows])
    assert evals(["report", str(nothing), "--no-plots"]) == 2
    assert "no row is graded: the same `evals run` tries again" in capsys.readouterr().err
