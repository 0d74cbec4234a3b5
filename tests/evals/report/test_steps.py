"""What a report says of the decided steps: their length, how far draft and base are apart, how responses ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evals.report.test_report import run, summary_of
from tests.evals.synthetic import campaign


def test_steps_are_told_by_their_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(campaign(25, ("gsi", "sbon-base"), (4,), (0, 1)))
    for setting in summary_of(tmp_path, rows)["settings"]:
        steps = [step for row in rows if row["method"] == setting["method"] for step in row["steps"]]
        apart = [abs(ratio) for s in steps if (ratio := (s.get("rejected") or s)["log_ratio"]) is not None]
        assert bool(apart) == (setting["method"] == "gsi")
        assert setting["steps"] == {
            "decided": len(steps),
            "tokens": pytest.approx(sum(s["n_tokens"] for s in steps) / len(steps)),
            "log_ratio": pytest.approx(sum(apart) / len(apart)) if apart else None,
            "greatest_log_ratio": max(apart, default=None),
        }
    capsys.readouterr()
    assert run(tmp_path, "--no-plots") == 0
    assert "tokens a step" in capsys.readouterr().out
