"""What the shipped models do not know is refused before anything loads; a bad problem does not end the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evals.__main__ import main as evals
from gsi_node.cli.__main__ import main
from gsi_node.pocket.world.reading import recognised
from gsi_node.specs.kinds import MODELS, REWARDS
from tests.graphs.tables import command, compiled, models
from tests.graphs.test_solver import ROOT

Capture = pytest.CaptureFixture[str]
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from gsi_node.cli.__main__ import gsi
gsi()
"""


def without_torch(*argv: str) -> subprocess.CompletedProcess[str]:
    """`gsi` where nothing that needs torch can be imported."""
    call = [sys.executable, "-c", WITHOUT_TORCH, *argv]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("problem", ["hello", "What is 7 * 8?", "wie geht's → ☃"])
def test_a_problem_outside_the_world_is_refused_before_anything_loads(problem: str) -> None:
    ended = without_torch("solve", problem)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    for named in (repr(problem), "outside pocket math", "--examples", "--anyway"):
        assert named in ended.stderr
    assert "weights" not in ended.stderr


def test_others_of_a_batch_are_solved_and_each_refusal_is_a_row(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "two.jsonl").write_text('{"problem": "what is 3+4", "id": 7}\n{"problem": "hello"}\n')
    assert main(["solve", "--json", "--n", "2", "--file", str(tmp_path / "two.jsonl")]) == 1
    told = capsys.readouterr()
    solved, refused = (json.loads(line) for line in told.out.splitlines())
    assert (solved["problem"], solved["asked"], solved["problem_id"]) == ("What is 3 + 4?", "what is 3+4", "7")
    assert solved["answer"] == "7"
    assert set(refused) == {"problem", "problem_id", "error"}
    assert (refused["problem"], "outside pocket math" in refused["error"]) == ("hello", True)
    assert told.err == "error: 1 of 2 problems failed: 2\n"


def test_anyway_asks_it_all_the_same(capsys: Capture) -> None:
    assert main(["solve", "--json", "--n", "2", "--anyway", "What is 2^3?"]) == 0
    assert json.loads(capsys.readouterr().out)["problem"] == "What is 2^3?"


def test_every_example_can_be_asked() -> None:
    ended = without_torch("solve", "--examples")
    lines = ended.stdout.splitlines()
    assert (ended.returncode, len(lines)) == (0, 24)
    assert None not in map(recognised, lines)


def test_a_problem_that_fails_under_way_does_not_end_the_others(capsys: Capture) -> None:
    parts = models()
    parts["draft"].fail_at = (compiled().invoke({"problem": "two"})["samples"][0]["problem_id"], 1)
    assert command(["--json", "one", "two", "three"], parts) == 1
    told = capsys.readouterr()
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [row["problem"] for row in rows] == ["one", "two", "three"]
    assert [row.get("error") for row in rows] == [None, "model draft broke at step 1", None]
    assert told.err == "error: 1 of 3 problems failed: 2\n"


@pytest.mark.parametrize(
    ("option", "spec", "named"),
    [
        ("--draft", "Qwen/Qwen2.5-Math-1.5B-Instruct", "did you mean hf:Qwen/Qwen2.5-Math-1.5B-Instruct?"),
        ("--base", "poket:base", "is pocket meant?"),
        ("--reward", "prm", "names no target"),
        ("--reward", "ensemble:verifier|prn:/models/prm", "is prm meant?"),
        ("--base", "hf:/models/base?dvice=cpu", "is device meant?"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_before_anything_loads(option: str, spec: str, named: str) -> None:
    ended = without_torch("solve", option, spec, "What is 3 + 4?")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr


@pytest.mark.parametrize("command", ["gsi solve", "gsi serve", "gsi doctor", "gsi bench", "evals run", "evals tune"])
def test_help_names_every_kind_of_spec(command: str, capsys: Capture) -> None:
    """Of every command that takes the three models."""
    program, name = command.split()
    with pytest.raises(SystemExit, match="0"):
        {"gsi": main, "evals": evals}[program]([name, "--help"])
    told = "".join(capsys.readouterr().out.split())
    for kind in {*MODELS, *REWARDS}:
        assert re.search(f"{kind}[:,(]", told), kind
