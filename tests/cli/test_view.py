"""Labels of steps, in the terminal and on the report page: what no method decided is neither kept nor refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

import evals.report
from gsi_node.cli.view import step
from gsi_node.step.config import GSIConfig
from gsi_node.step.records import unmeasured_record
from gsi_node.types import Step


@pytest.mark.parametrize(("source", "label"), [("initial", "· given"), ("given", "· close"), ("human", "✎ human")])
def test_a_step_that_no_method_decided_says_so(source: str, label: str) -> None:
    record = unmeasured_record(Step("</think>\n\n", (1, 2), 0.0, False), source)
    console = Console(width=80, color_system=None)
    with console.capture() as told:
        console.print(step(record, 2, GSIConfig()))
    assert label in told.get() and "✓" not in told.get()


def test_a_draft_that_a_person_let_pass_is_theirs() -> None:
    numbers = {"reward": 0.4, "tilted_reward": 0.3, "accepted": False, "accepted_by": "human"}
    record = {**unmeasured_record(Step("so\n\n", (1, 2), 0.0, False), "draft"), **numbers}
    console = Console(width=80, color_system=None)
    with console.capture() as told:
        console.print(step(record, 2, GSIConfig()))
    assert "✎ human" in told.get() and "✓" not in told.get() and "r 0.400" in told.get()


def test_the_page_has_a_kind_of_its_own_for_thinking_closed_by_force() -> None:
    assets = Path(evals.report.__path__[0]) / "assets"
    assert 'given: "closes thinking"' in (assets / "report.js").read_text("utf-8")
    assert ".step.given" in (assets / "report.css").read_text("utf-8")
