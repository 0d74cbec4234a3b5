"""docs/backends.md: its code runs, and its table names the checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gsi_node.testing import CHECKS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "backends.md").read_text("utf-8")


def test_the_skeleton_keeps_the_contract_and_runs_in_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(compile(code, "docs/backends.md", "exec"), {"__name__": "skeleton"})
    assert capsys.readouterr().out == "4\n"


def test_the_table_has_every_check() -> None:
    assert re.findall(r"`(check_\w+)`(?=[, ].*\|)", PAGE) == [check.__name__ for check in CHECKS]
