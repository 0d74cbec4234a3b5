"""Neural JKO over a small target: flows and rejection layers, in miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the optimiser would import it in every life

from graphs import neural_jko
from gsi_node.neural_jko.forecast import UnitCosts

SETTINGS = {
    "flows_first": 1, "first_rejections": 0, "blocks": 1, "rejections": 1, "wanted_ess": None, "likelihood_steps": 2,
    "rounds": 0, "width": 4, "depth": 1, "steps": 2, "particles": 32, "ode_steps": 1, "train_ode_steps": 1,
    "batch_size": 16, "calibration": 32, "weighing": 32, "optimizer": "adam", "pilot_evaluations": 8000,
}  # fmt: skip
TIMES = ("seconds", "cpu_seconds")


def command(folder: Path) -> int:
    torch.set_num_threads(1)
    neural_jko.draw = lambda run, n: []  # pictures of some seconds, and no part of a result
    vars(neural_jko)["timed"] = lambda run: UnitCosts(0.0, 0.0, 0.0, 0.0, 0.0)  # nor is what a step takes here
    changes = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    return neural_jko.main(["--target", "mustache", "--samples", "8", "--out", str(folder / "run"), *changes])


def result(folder: Path, out: str) -> Any:
    """The layers' records and weights, the measurements, and what was printed, without times."""
    run = folder / "run"
    numbers = json.loads((run / "metrics.json").read_text("utf-8"))
    stack = json.loads((run / "stack.json").read_text("utf-8"))
    layers = [{key: value for key, value in layer.items() if key not in TIMES} for layer in stack["layers"]]
    weights = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    shown = [line for line in out.splitlines() if not line.startswith((*TIMES, "announced", "spent", "pages"))]
    return {key: value for key, value in numbers.items() if key not in TIMES}, layers, weights, shown


def prepare(work: Path) -> None:
    """Nothing to prepare."""
