"""Rows of runs that look ahead: the same, FLOPs too, and one folder whatever K."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.rows.lines import read_rows
from evals.rows.row import Row
from evals.run import command
from gsi_node.host.shell import Parser
from tests.evals.run.test_run import plain

SPECS = ["--draft", "pocket:draft?dtype=float64", "--base", "pocket:base?dtype=float64", "--reward", "verifier"]


def run(folder: Path, *settings: str, limit: int = 1) -> list[Row]:
    sets = [part for one in ("max_steps=4", "max_step_tokens=24", *settings) for part in ("--set", one)]
    argv = ["--data", "pocket", "--limit", str(limit), "--methods", "gsi", "--n", "3", "--out", str(folder)]
    parser = Parser(prog="python -m evals run")
    command.add_arguments(parser)
    assert command.main(parser.parse_args([*argv, *SPECS, *sets])) == 0
    return read_rows(folder)


def usage(rows: list[Row]) -> Any:
    return [{role: (b.generated_tokens, b.scored_tokens, b.calls) for role, b in row.usage.items()} for row in rows]


def test_rows_are_the_same_whatever_k(tmp_path: Path) -> None:
    still, ahead = run(tmp_path / "0"), run(tmp_path / "2", "lookahead=2")
    assert plain(ahead) == plain(still) and usage(ahead) == usage(still)
    assert all(row.flops["draft"] > 0 for row in still)
    discarded = [sum(row.usage["draft"].discarded_tokens for row in rows) for rows in (still, ahead)]
    assert discarded[0] == 0 < discarded[1]
    more = run(tmp_path / "2", limit=2)  # goes on in the folder under another K
    assert len(more) == 2 and plain(ahead).items() <= plain(more).items()
