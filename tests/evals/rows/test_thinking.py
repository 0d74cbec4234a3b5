"""Only what a response says behind its thinking is graded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.__main__ import main as evals
from evals.rows.lines import read_rows
from evals.rows.row import Response, said
from tests.thinker import USUAL, build_thinker

BOXING = {**USUAL, "<think>": {" so": 1.0}, ".\n\n": {" so": 1.0}, "\\boxed{": {"3": 1.0}, "}.": {".\n\n": 1.0}}
"""Thinks of a box for ever."""


def test_what_is_thought_is_not_read() -> None:
    """Of a step that closes thinking the rest is read; records that say nothing of thinking are read whole."""
    steps: list[dict[str, Any]] = [
        {"text": "<think>\\boxed{1}\n\n", "source": "draft", "thought": 18},
        {"text": "\n</think>\n\n", "source": "given", "thought": 9},
        {"text": "so \\boxed{2}", "source": "base"},
    ]
    whole = "".join(str(step["text"]) for step in steps)
    about: dict[str, Any] = {"response": whole, "stop_reason": "answer", "acceptance_rate": None, "usage": {}}
    assert said(Response.model_validate({**about, "steps": steps})) == "\n\nso \\boxed{2}"
    assert said(Response.model_validate({**about, "steps": steps[:1]})) == ""
    plain = [{name: value for name, value in step.items() if name != "thought"} for step in steps]
    assert said(Response.model_validate({**about, "steps": plain})) == whole


def test_a_run_grades_the_answer(tmp_path: Path) -> None:
    """A box within thinking is no answer; behind thinking that was closed by force it is."""
    problems = tmp_path / "made.jsonl"
    problems.write_text(json.dumps({"problem": "1+2", "answer": "3"}) + "\n")
    spec = f"hf:{build_thinker(tmp_path / 'model', laws=BOXING)}"
    for folder, more in (("open", ()), ("closed", ("--set", "max_thinking_tokens=12"))):
        options = ["--methods", "draft", "--n", "1", "--set", "max_tokens=40", "--out", str(tmp_path / folder), *more]
        assert evals(["run", "--data", str(problems), "--draft", spec, *options]) == 0
    (within,), (behind,) = read_rows(tmp_path / "open"), read_rows(tmp_path / "closed")
    assert "\\boxed{3}" in within.response and within.predicted is None and within.correct is False
    assert behind.predicted == "3" and behind.correct is True
    assert [step.source for step in behind.steps].count("given") == 1
    assert (behind.stop_reason, within.stop_reason) == ("answer", "max_tokens")
