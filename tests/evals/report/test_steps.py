"""What a report says of the decided steps: their length, how far draft and base are apart, how responses ended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gsi_node.step.records import unmeasured_record
from gsi_node.types import Plain, Step
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


def test_steps_of_a_person_are_shown_and_not_counted(tmp_path: Path) -> None:
    """Written at a refusal, or a refused draft that was let pass: the method's verdict counts, the step does not."""
    rows = list(campaign(25, ("gsi",), (4,), (0, 1)))
    before = summary_of(tmp_path / "before", rows)["settings"][0]
    fallen = [(row, i) for row in rows for i, step in enumerate(row["steps"]) if "rejected" in step]
    for (row, i), by_hand in zip(fallen[:2], (written, passed), strict=True):
        row["steps"][i] = by_hand(row["steps"][i])
    after = summary_of(tmp_path / "after", rows)["settings"][0]
    assert after["steps"]["decided"] == before["steps"]["decided"] - 2
    assert after["acceptance"] == before["acceptance"] and before["acceptance"] is not None
    page = (tmp_path / "after" / "report" / "report.html").read_text("utf-8")
    assert len(re.findall('"src": ?"human"', page)) == len(re.findall('"by": ?"human"', page)) == 1
    assert "✎ written by a person" in page and "✎ draft, accepted by a person" in page


def written(step: Plain) -> Plain:
    own = unmeasured_record(Step("by hand\n\n", (1,), 0.0, False), "human")
    del own["token_ids"]
    return {**own, "n_tokens": 1, "accepted": False, "log_prob_base": -2.0, "rejected": step["rejected"]}


def passed(step: Plain) -> Plain:
    return {**step["rejected"], "accepted_by": "human"}
