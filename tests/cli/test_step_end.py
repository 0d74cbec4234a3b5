"""--step-end, as it is typed: what a command reads, where its steps end, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gsi_node.cli.settings import settings
from gsi_node.tables.rewards import TableReward
from tests.graphs.tables import command, parse
from tests.token_world import tables

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("rule", "ends"),
    [("line", ".\n\n"), ("tokens:16", None), ('[".", "a"]', (".\n\n", "a"))],
    ids=["line", "16", "list"],
)
def test_steps_end_where_the_option_says(rule: str, ends: Any, capsys: Capture) -> None:
    parts = {**dict(zip(("draft", "base"), tables(5), strict=True)), "reward": TableReward(lambda prefix, step: 0.5)}
    argv = ["--n", "3", "--json", "--step-end", rule, "--method", "base", "--set", "max_step_tokens=16", "two"]
    assert command(argv, parts) == 0
    result = json.loads(capsys.readouterr().out)
    assert settings(parse(["--step-end", rule])).step_end == ((".", "a") if rule.startswith("[") else rule)
    assert result["steps"]
    for step in result["steps"][:-1]:
        assert len(step["token_ids"]) == 16 if ends is None else step["text"].endswith(ends)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("tokens:0", 'step_end: want "paragraph", "line", "tokens:K" with K ≥ 1'),
        ("tokens:600", "step_end"),
        ('["."', "step_end: not JSON"),
        ("[]", "step_end"),
        ('[""]', "step_end"),
    ],
)
def test_what_is_no_rule_is_refused(rule: str, told: str, capsys: Capture) -> None:
    assert command(["--step-end", rule, "two"]) == 2
    assert told in capsys.readouterr().err
