"""Rows of runs that judge early: the same, FLOPs too, and one folder whichever way."""

from __future__ import annotations

from pathlib import Path

from tests.evals.run.test_run import plain
from tests.evals.run.test_run_lookahead import run, usage


def test_rows_are_the_same(tmp_path: Path) -> None:
    still, early = run(tmp_path / "0"), run(tmp_path / "1", "judge_early=true")
    assert plain(early) == plain(still) and usage(early) == usage(still)
    assert [row.flops for row in early] == [row.flops for row in still] and all(row.flops["base"] > 0 for row in still)
    more = run(tmp_path / "1", limit=2)  # goes on in the folder without
    assert len(more) == 2 and plain(early).items() <= plain(more).items()
