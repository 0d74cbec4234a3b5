"""`gsi bench --graphs` compares decoding in fixed shapes with decoding without; `--shape` tells what models gave up."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from gsi_node.cli.__main__ import main
from gsi_node.engine.fixed import FixedBatch
from gsi_node.tools import bench_sizes
from gsi_node.tools.bench_sizes import SizesRecord, measure_sizes, tables
from gsi_node.tools.step_parts import StepSize
from tests.tools.test_bench_sizes import Clock, timed

__all__ = ["timed"]  # a fixture

ASKED = ["bench", "--graphs", "tiny", "--n", "2,5", "--prefix", "32", "--tokens", "6", "--repeats", "1"]


def test_both_ways_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(ASKED) == 0
    shown = capsys.readouterr().out
    assert "fixed shapes, unrecorded" in shown
    assert re.findall(r"│ 32 +│ (\d)", shown) == ["2", "5"]
    assert "0 of 14 candidates differ" in " ".join(shown.split())
    assert gap(shown) < 1e-5
    real = FixedBatch.open

    def late(self: FixedBatch, length: int) -> Tensor:
        return real(self, length) + 7

    monkeypatch.setattr(FixedBatch, "open", late)
    assert main(ASKED) == 0
    assert gap(capsys.readouterr().out) > 1e-4


def gap(shown: str) -> float:
    """Nats by which candidates with the same tokens differ."""
    found = re.search(r"by at most (\S+) nats", " ".join(shown.split()))
    assert found
    return float(found[1])


def test_what_a_model_gave_up_stands_below_the_sizes(
    timed: tuple[Clock, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parts = timed
    parts["base"].engine = SimpleNamespace(findings=("decodes without CUDA graphs: it reads a number",))
    monkeypatch.setattr(bench_sizes, "_rates", lambda *_: iter(()))
    record = SizesRecord(models=dict.fromkeys(parts, "x"), repeats=1)
    found = measure_sizes(parts, [StepSize(2, 64, 4)], [0.5], record)
    assert found.notes == ["base decodes without CUDA graphs: it reads a number"]
    assert tables(found)[0].caption == found.notes[0]
    assert tables(record)[0].caption is None
