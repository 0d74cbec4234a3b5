"""Rows made with --memo by the command: the same as without, with token-level methods, several drafts, and methods that
look ahead or judge early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.rows.lines import read_rows
from evals.rows.row import Row
from evals.run import command
from gsi_node.host.shell import Parser
from tests.evals.run.test_run import plain
from tests.evals.run.test_run_lookahead import SPECS, usage


def run(folder: Path, methods: str, *more: str) -> list[Row]:
    argv = ["--data", "pocket", "--limit", "2", "--share-samples", "--methods", methods, "--n", "3"]
    sets = ["--set", "max_steps=4", "--set", "max_step_tokens=24", "--concurrency", "4", "--out", str(folder)]
    parser = Parser(prog="python -m evals run")
    command.add_arguments(parser)
    assert command.main(parser.parse_args([*argv, *SPECS, *sets, *more])) == 0
    return read_rows(folder)


def rounded(value: Any) -> Any:
    """Its floats to nine digits: an answer that is taken over was computed in other company."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize(
    ("methods", "more"),
    [
        ("specdec,base,specdec-sbon,sbon-base", ()),
        ("gsi,gsi-ic,cgs", ("--draft", "pocket:base?dtype=float64")),
        ("gsi,rsd-n,sbon-draft", ("--set", "lookahead=2")),
        ("gsi,rsd-n,sbon-draft", ("--set", "judge_early=true")),
        ("gsi,rsd-n,sbon-base", ("--set", "judge_early=true", "--set", "lookahead=1")),
    ],
    ids=["token by token", "two drafts", "ahead", "early", "both"],
)
def test_rows_are_the_same(methods: str, more: tuple[str, ...], tmp_path: Path) -> None:
    alone, shared = run(tmp_path / "alone", methods, *more), run(tmp_path / "shared", methods, "--memo", *more)
    assert len(alone) == 2 * (methods.count(",") + 1)
    assert all(row.shared for row in shared) and not any(row.shared for row in alone)
    bare = [{key: {**row, "shared": False} for key, row in plain(rows).items()} for rows in (alone, shared)]
    assert rounded(bare[0]) == rounded(bare[1])
    order = {row.key: place for place, row in enumerate(shared)}
    assert usage([shared[order[row.key]] for row in alone]) == usage(alone)
