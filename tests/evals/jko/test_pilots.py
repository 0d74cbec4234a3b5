"""`python -m evals jko-pilots`: the pilot's numbers are those of the pilot."""

from __future__ import annotations

import pytest

from evals.__main__ import main
from evals.jko.pilots import COLUMNS, between, found
from gsi_node.neural_jko.targets import named


def test_the_table_says_what_each_pilot_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jko-pilots", "--targets", "8modes,gmm10", "--seeds", "3"]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    head, _, modes, _ = (line for line in lines if len(line) == len(COLUMNS))
    assert head == list(COLUMNS)
    cells = dict(zip(COLUMNS, modes, strict=True))
    alone = found(named("8modes"), 3)
    assert (cells["target"], cells["dim"], cells["modes"]) == ("8modes", "2", "8")
    assert float(cells["log Z"]) == pytest.approx(alone.log_z, abs=6e-4)
    assert float(cells["truth"]) == 0.0
    assert float(cells["log₁₀ β0"]) < 0.0
    low, _, high = cells["scales"].partition(" … ")
    assert 0.5 < float(low) <= float(high) < 1.5  # modes on a circle of radius 1: q95 − q05 is about 2.2 to 2.4
    assert int(cells["evaluations"].replace(",", "")) == alone.evaluations


def test_what_differs_between_seeds_is_a_range() -> None:
    assert between([1.0, 3.0, 2.0], ".1f") == "1.0 … 3.0"
    assert between([1.01, 1.02], ".1f") == "1.0"


def test_a_wrong_call_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jko-pilots", "--targets", "9modes"]) == 2
    assert main(["jko-pilots", "--seeds", "zero"]) == 2
    assert "9modes" in capsys.readouterr().err
