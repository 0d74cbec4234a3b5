"""The command that compares two trees of the code."""

from __future__ import annotations

import re

import pytest

from tests.bench_trees import HERE, main


def test_a_tree_beside_itself(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(HERE), "--rounds", "1", "--sizes", "1", "1"])
    told = re.findall(
        r"^(.+): (\d+) tokens a CPU second before, (\d+) here, ([\d.]+) times$", capsys.readouterr().out, re.M
    )
    assert [what for what, *_ in told] == ["alone", "16 at a time"]
    for _, before, here, times in told:
        assert float(times) == pytest.approx(int(here) / int(before), abs=0.02)
