"""What is kept of a layer's losses: means over steps, few enough for a page, as the training told them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.losses import POINTS, LossCurve, LossRecord, read_losses
from gsi_node.neural_jko.run import Run
from tests.neural_jko.small import QUICK, gaussian


def test_a_run_keeps_the_losses_that_it_tells(tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    run = Run(gaussian(2), QUICK, tmp_path, told=lambda what, done, total, loss: told.setdefault(what, []).append(loss))
    run.complete()
    kept = {**read_losses(tmp_path, 0), **read_losses(tmp_path, 1)}
    assert list(kept) == ["flow 0", "flow 1"]
    for what, curve in kept.items():
        assert (curve.steps, curve.every) == (QUICK.steps, 1)
        assert curve.loss == pytest.approx(told[what], rel=1e-5)
    assert read_losses(tmp_path, 2) == {}  # rejection layers are not fitted


def test_many_steps_are_thinned_to_means_of_neighbours(tmp_path: Path) -> None:
    record = LossRecord()
    sizes = {"flow 0": 700, "flow 0, round 1": 401, "flow 0, round 2": 3}
    for what, steps in sizes.items():
        for step in range(steps):
            record(what, step + 1, steps, float(step))
    record.save(tmp_path, 4)
    curves = read_losses(tmp_path, 4)
    assert {what: curve.steps for what, curve in curves.items()} == sizes
    assert sum(len(curve.loss) for curve in curves.values()) <= POINTS
    assert curves["flow 0"].every == 3
    assert curves["flow 0"].loss[:2] == [1.0, 4.0]
    assert curves["flow 0"].loss[-1] == 699.0  # of one step
    assert curves["flow 0, round 2"] == LossCurve(3, 3, [1.0])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "000-losses.json").write_text(json.dumps({"flow 0": [1, 2]}))
    with pytest.raises(ConfigError, match="000-losses.json: holds no losses"):
        read_losses(tmp_path, 0)
