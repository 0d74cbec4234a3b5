"""Runs with several drafts: rows, bills, what config.json holds, and that other counts are another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.__main__ import main
from evals.report.costs import tokens
from evals.rows.lines import read_rows
from tests.evals.run.test_run import arguments
from tests.evals.tables import command

TWO = ("--draft", "table*2", "--draft", "other*1", "--n", "3")


def test_rows_and_the_identity_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = arguments(tmp_path, *TWO, "--methods", "gsi,gsi-ic")
    assert command(argv) == 0
    kept = json.loads((tmp_path / "run" / "config.json").read_text("utf-8").split("\n}", 1)[0] + "\n}")
    assert kept["specs"]["draft"] == "table*2 + other*1"
    assert set(kept["fingerprints"]) == {"draft/0", "draft/1", "base", "reward"}
    rows = read_rows(tmp_path / "run")
    for row in rows:
        assert set(row.usage) == {"draft/0", "draft/1", "base", "reward"} == set(row.flops)
        for step in row.steps:
            assert [one.draft for one in ((step.rejected or step).candidates or ())] == [0, 0, 1]
    drafts = [row.usage[f"draft/{j}"].generated_tokens for row in rows for j in (0, 1)]
    assert tokens(rows)["draft"].generated == sum(drafts) / len(rows)
    assert command(argv) == 0
    capsys.readouterr()
    for other in (("--draft", "table*1", "--draft", "other*2", "--n", "3"), ("--draft", "table", "--n", "3")):
        assert command(arguments(tmp_path, *other, "--methods", "gsi,gsi-ic")) == 2
        assert "specs.draft: 'table*2 + other*1' there" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "gsi-ic" in capsys.readouterr().out
