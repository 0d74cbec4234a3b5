"""graphs/neural_jko.py: the library's model, resumed at its last layer, with pictures and clear errors."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gsi_node.neural_jko.config import configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import named

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "graphs" / "neural_jko.py"
QUICK: dict[str, Any] = {
    "flows_first": 1, "blocks": 2, "rejections": 2, "steps": 5, "particles": 128, "weighing": 64, "calibration": 64
}  # fmt: skip


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("neural_jko_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


JKO = script()
SETTINGS = [part for key, value in QUICK.items() for part in ("--set", f"{key}={value}")]


class Killed(BaseException):
    pass


def test_a_killed_graph_resumes_at_its_last_layer_to_the_library_s_model(tmp_path: Path) -> None:
    target, settings = named("8modes"), configured("cpu", "8modes", **QUICK)
    whole = Run(target, settings, tmp_path / "whole").complete()
    trained: list[str] = []

    def told(what: str, done: int, total: int, loss: float) -> None:
        if done == 1:
            trained.append(what)
        if what == "flow 4" and trained.count("flow 4") == 1 and done == 3:
            raise Killed

    with pytest.raises(Killed):
        JKO.train(JKO.NeuralJKO(Run(target, settings, tmp_path / "cut", told=told), samples=50))
    run = Run(target, settings, tmp_path / "cut", told=told)
    final = JKO.train(JKO.NeuralJKO(run, samples=50))
    assert trained == ["flow 0", "flow 1", "flow 4", "flow 4"]
    assert [layer["kind"] for layer in final["layers"]] == settings.plan()
    assert [record["layers"] for record in final["metrics"]] == [1, 4, 7]
    draws = [s.sample(60, torch.Generator().manual_seed(0)) for s in (whole, run.stack(final["layers"]))]
    assert torch.equal(draws[0].x, draws[1].x)
    assert torch.equal(draws[0].log_prob, draws[1].log_prob)
    assert json.loads(json.dumps(final)) == final  # plain, no tensors
    again = JKO.train(JKO.NeuralJKO(Run(target, settings, tmp_path / "cut", told=told), samples=50))
    assert again["layers"] == final["layers"]
    assert len(trained) == 4


def test_the_command_draws_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert JKO.main(["--target", "mustache", "--out", str(tmp_path), "--samples", "60", *SETTINGS]) == 0
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert {"energy_distance", "floor", "log_z", "evaluations", "seconds"} <= set(numbers)
    assert "energy_distance" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "inital_tau=0.05"], "inital_tau"),
        (["--set", "steps"], "want NAME=VALUE"),
        (["--set", "steps=0"], "steps"),
    ],
)
def test_wrong_settings_are_named(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert JKO.main(["--target", "8modes", "--out", str(tmp_path), *arguments]) == 2
    assert told in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit:
        JKO.main(["--target", "9modes", "--out", str(tmp_path)])
    assert exit.value.code == 2


def test_ctrl_c_ends_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--target", "8modes", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 90
    while not (tmp_path / "run" / "config.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "goes on from the layers" in errors
    assert "Traceback" not in errors
