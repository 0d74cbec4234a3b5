"""`jko-steps` and `jko-gpu`: what they time is a training step, with the trace's matrix built once; parts are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evals.__main__ import main
from evals.jko.steps import CELLS, SOLVERS, WARM, StepTime, median, turn
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.velocity import Velocity


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_trace_s_matrix_is_built_once_a_step(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built, real = [], Velocity.slope

    def slope(self: Velocity, *probes: Any) -> Any:
        built.append(1)
        return real(self, *probes)

    monkeypatch.setattr(Velocity, "slope", slope)
    small = {"width": 4, "particles": 32, "batch_size": 8, "optimizer": "adam"}
    config = configured("cpu", "", {**small, "solver": solver})
    step = turn(config, 2, 3)
    assert len(built) == 2 * (WARM + 3)  # the loss and its gradient alone, then whole steps
    assert min(step.forward, step.backward) > 0


def test_parts_add_up_and_turns_are_medians() -> None:
    times = [StepTime(1.0, 2.0, 3.0), StepTime(9.0, 2.0, 3.0), StepTime(2.0, 2.0, 0.0)]
    assert median(times) == StepTime(2.0, 2.0, 3.0)
    assert median(times).whole == 7.0


def test_the_table_has_a_line_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    assert main(["jko-steps", "--turns", "1", "--steps", "1"]) == 0
    torch.set_num_threads(threads)
    text = capsys.readouterr().out
    assert all(name in text for name in CELLS)
    assert text.count("midpoint") == len(CELLS)


def test_the_gpu_s_parts_run_anywhere_in_small_and_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["jko-gpu", "--device", "cpu", "--tiny", "--out", str(tmp_path)]
    assert main([*given, "--part", "steps"]) == 0
    assert main(given) == 0
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text("utf-8").splitlines()]
    assert [line["part"] for line in lines] == ["steps", "mustache"]
    assert min(lines[0]["ms"], lines[0]["cpu_ms"]) > 0
    assert lines[1]["n"] == 200
    capsys.readouterr()
    assert main(given) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jko-gpu", "--out", str(tmp_path)]) == 2
    assert "device 'cuda'" in capsys.readouterr().err
    assert main(["jko-gpu", "--part", "funnel", "--out", str(tmp_path)]) == 2
    assert "no funnel" in capsys.readouterr().err
    assert not (tmp_path / "gpu.jsonl").exists()
