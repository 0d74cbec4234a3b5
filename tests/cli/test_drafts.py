"""--draft given again: several drafts on the page, in JSON, in a checkpoint file; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.errors import ConfigError, ResumeMismatch, VocabularyMismatch
from gsi_node.specs import load
from gsi_node.tables.models import TableModel
from gsi_node.tools import doctor
from tests.graphs.tables import Table, models

Capture = pytest.CaptureFixture[str]
OPTIONS = ["--n", "3", "--beta", "4", "--threshold", "0.6", "--anyway", "--reward", "verifier"]


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """hf:/a and hf:/b are drafts, hf:/base is the base, and the verifier a table of rewards."""
    made: dict[str, Any] = {"hf:/a": Table(0.4, "a"), "hf:/b": Table(0.7, "b"), "hf:/base": Table(0.8, "base")}
    made["hf:/other"] = TableModel({"x": 1.0})
    made["hf:/other"].vocabulary = "another"
    for room in (load, doctor):
        monkeypatch.setattr(room, "load_model", made.__getitem__)
        monkeypatch.setattr(room, "load_reward", lambda spec: models()["reward"])


def solve(*argv: str) -> int:
    return main(["solve", *OPTIONS, "--base", "hf:/base", *argv, "two"])


TWO = ("--draft", "hf:/a*2", "--draft", "hf:/b*1")


def test_json_says_who_wrote_and_what_each_took(capsys: Capture) -> None:
    assert solve(*TWO, "--json", "--set", "record=candidates") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["usage"]) == {"draft/0", "draft/1", "base", "reward"}
    batches = [step.get("rejected") or step for step in told["steps"]]
    assert all([one["draft"] for one in batch["candidates"]] == [0, 0, 1] for batch in batches)


def test_the_page_has_a_row_a_draft(capsys: Capture) -> None:
    assert solve(*TWO) == 0
    page = capsys.readouterr().out
    rows = [line.split()[0] for line in page.splitlines() if line.startswith((" draft", " base", " reward"))]
    assert rows == ["draft/0", "draft/1", "base", "reward"] and "· draft/" in page


def test_a_file_keeps_it_under_its_counts(tmp_path: Path, capsys: Capture) -> None:
    file = ("--checkpoint", str(tmp_path / "runs.sqlite"), "--json")
    told = []
    for _ in range(2):
        assert solve(*TWO, *file) == 0
        captured = capsys.readouterr()
        told.append((captured.out, "is finished" in captured.err))
    assert told[0][0] == told[1][0] and [finished for _, finished in told] == [False, True]
    assert solve("--draft", "hf:/a*1", "--draft", "hf:/b*2", *file) == 0
    captured = capsys.readouterr()
    assert "begun anew" in captured.err and captured.out != told[0][0]
    named = ("--thread", "mine")
    assert solve(*TWO, *file, *named) == 0
    with pytest.raises(ResumeMismatch, match=r"draft: 'hf:/a\*2 \+ hf:/b\*1' there, 'hf:/a\*1 \+ hf:/b\*2' here"):
        solve("--draft", "hf:/a*1", "--draft", "hf:/b*2", *file, *named)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((*TWO, "--n", "1"), "n: want at least 2, one candidate a draft, got 1"),
        (("--draft", "hf:/a", "--draft", "hf:/a"), "draft: 0 and 1 are one model, a; leave one out, or give each"),
        ((*TWO, "--method", "rsd-n"), "draft: method rsd-n has no ratio to weigh 2 drafts by"),
        (("--draft", "hf:/a", "--draft", "hf:/other"), "different vocabularies"),
        (("--draft", "hf:/a", "--draft", "hf:/b*0"), "each count an integer ≥ 1"),
        (("--draft", "hf:/a", "--draft", "pocket:drift"), "pocket:drift"),
    ],
)
def test_what_is_refused(argv: tuple[str, ...], told: str) -> None:
    with pytest.raises((ConfigError, VocabularyMismatch), match=told):  # which end a command with 2
        solve(*argv)


def test_the_doctor_examines_each(capsys: Capture) -> None:
    settings = ("--set", "beta=4", "--set", "threshold=0.6", "--problem", "two")
    assert main(["doctor", *TWO, "--base", "hf:/base", *settings]) in (0, 1)
    told = capsys.readouterr().out
    for words in (
        "draft/0      hf:/a in",
        "draft/1      hf:/b in",
        "draft/1 noise",
        "draft and base share one",
        "steps in",
    ):
        assert words in told
