"""What the call can have wrong: one line that names the thing and the fix, exit code 2, and nothing is spoilt."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from evals.data.problems import Grade, Problem
from evals.graders.voting import majority
from evals.rows.row import VoteRecord
from evals.rows.sealed import sealed, unsealed
from tests.evals.tables import command, problems

Capture = pytest.CaptureFixture[str]


def mistake(argv: list[str], capsys: Capture) -> str:
    """The one line of a call that must be refused."""
    assert command(argv) == 2
    told = capsys.readouterr().err
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in told
    return line


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--methods", "gsi2"], "--methods: no method 'gsi2'; the methods are gsi,"),
        (["--methods", "gsi,,rsd"], "want names with commas between"),
        (["--methods", "gsi,gsi"], "names one twice"),
        (["--n", "0"], "n: input should be greater than or equal to 1, got 0"),
        (["--n", "1,x"], "want integers with commas between, got '1,x'"),
        (["--seeds", "1,1"], "--seeds: names one twice: 1, 1"),
        (["--limit", "0"], "want an integer ≥ 1, got '0'"),
        (["--workers", "-1"], "--workers"),
        (["--shard", "2/2"], "want I/K with I from 0 to K − 1"),
        (["--set", "betta=1"], "--set: no field 'betta'"),
        (["--set", "beta=0"], "beta: must be > 0 for method gsi"),
        (["--set", "step_end=lien"], "step_end: want"),
        (["--set", "n=3"], "--set n: use --n"),
        (["--set", "method=gsi"], "--set method: use --methods"),
        (["--config", "{folder}/no.toml"], "no.toml: No such file"),
        (["--config", "{folder}/field.json"], "no field 'betta'"),
        (["--data", "math501"], "no set 'math501'"),
        (["--data", "{folder}/nowhere.jsonl"], "nowhere.jsonl"),
        (["--data", "{folder}/empty.jsonl"], "empty.jsonl: the set is empty"),
        (["--data", "math500", "--data-dir", "{folder}"], "math500"),
        (["--out", "{folder}/empty.jsonl"], "is a file; name a folder"),
        (["--out", "{folder}"], "but no config.json, so it is no run folder"),
        (["--out", "/proc/run"], "cannot be made"),
        (["--draft", "absent"], "model 'absent' cannot be loaded: it is absent"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_mistakes(
    argv: list[str], named: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "field.json").write_text('{"betta": 1}')
    given = ["--data", str(problems(tmp_path, 2)), "--out", str(tmp_path / "run")]
    assert named in mistake([*given, *(item.replace("{folder}", str(tmp_path)) for item in argv)], capsys)


def test_another_configuration_in_the_folder_is_refused_by_its_keys(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--data", str(problems(tmp_path, 2)), "--out", str(tmp_path / "run"), "--n", "2"]
    assert command(argv) == 0
    before = (tmp_path / "run" / "results.jsonl").read_bytes()
    assert "config.beta: 4.0 there, 5.0 here" in mistake([*argv, "--set", "beta=5"], capsys)
    told = mistake([*argv, "--share-samples", "--methods", "rsd-n", "--n", "2,4", "--seeds", "1"], capsys)
    assert "share_samples: False there, True here" in told
    assert not any(name in told for name in ("methods", "n: ", "seeds"))  # of these there may be more
    file = problems(tmp_path, 2)
    file.write_text(file.read_text().replace('"answer": "7"', '"answer": "7", "meta": {"rel_tol": 0.5}'))
    assert "problems_digest: " in mistake(argv, capsys)  # another tolerance grades otherwise
    problems(tmp_path, 2)
    os.truncate(tmp_path / "run" / "results.jsonl", 0)
    config = tmp_path / "run" / "config.json"
    kept, _ = unsealed(config.read_bytes(), "config.json")
    kept["fingerprints"]["draft"] = "of other weights under the same spec"
    config.write_bytes(sealed(json.dumps(kept).encode(), lines=True))
    assert "fingerprints.draft: 'of other weights under the same spec' there" in mistake(argv, capsys)
    assert (tmp_path / "run" / "results.jsonl").read_bytes() == b""
    assert before


def test_a_configuration_file_gives_what_no_option_gives(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "best.toml").write_text('method = "gsi-ic"\nn = 3\nlog_c = 1.5\nbeta = 9.0\n')
    given = ["--data", str(problems(tmp_path, 1)), "--config", str(tmp_path / "best.toml")]
    assert command([*given, "--out", str(tmp_path / "a")]) == 0
    kept = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (kept["methods"], kept["n"], kept["config"]["log_c"], kept["config"]["beta"]) == (["gsi-ic"], [3], 1.5, 4.0)
    assert command([*given, "--out", str(tmp_path / "b"), "--methods", "gsi", "--n", "2"]) == 0
    kept = json.loads((tmp_path / "b" / "config.json").read_text())
    assert (kept["methods"], kept["n"]) == (["gsi"], [2])
    capsys.readouterr()


def test_a_dry_run_writes_nothing_and_tells_what_is_left(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--data", str(problems(tmp_path, 4)), "--out", str(tmp_path / "run"), "--n", "2"]
    assert command([*argv, "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert "4 rows: 4 problems" in told
    assert "gsi, n = 2: 4 to do" in told
    assert not (tmp_path / "run").exists()
    assert command([*argv, "--shard", "0/2"]) == 0
    assert command([*argv, "--dry-run", "--workers", "2"]) == 0
    told = capsys.readouterr().err
    assert "gsi, n = 2: 2 to do, 0." in told
    assert "with 2 at a time" in told


def test_two_processes_do_not_write_one_file(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "results.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        told = mistake(["--data", str(problems(tmp_path, 1)), "--out", str(folder)], capsys)
    assert "another process is writing it" in told


def test_the_majority_is_of_equal_answers_and_the_first_wins_a_tie() -> None:
    class Grader:
        def same(self, problem: Problem, first: str, second: str) -> bool:
            return float(first) == float(second)

    problem = Problem("p", "?", "2", "math", {})
    grades = [Grade(False, None, "none"), Grade(False, "3", None), Grade(True, "2", None), Grade(True, "2.0", None)]
    winner, votes = majority(problem, grades, Grader())
    assert winner == 2
    assert votes == [VoteRecord(answer="2", voters=[2, 3]), VoteRecord(answer="3", voters=[1])]
    assert majority(problem, grades[:3], Grader())[0] == 1
    assert majority(problem, grades[:1] * 2, Grader()) == (0, [])
    assert majority(problem, [Grade(False, "", "the box is empty")], Grader()) == (0, [])
