"""A run that is interrupted anywhere goes on to the stack it would have been."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.neural_jko import start, train
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import OwnTarget
from tests.neural_jko.small import QUICK

SMALL = JKOConfig(
    pilot_evaluations=8000, width=4, gate=0, batch_size=32, likelihood_steps=3, rounds=1, round_steps=2, steps=3,
    first_rejections=2, blocks=1, rejections=2, wanted_ess=None, enough_ess=None, calibration=64, weighing=256,
    particles=64, optimizer="adam",
)  # fmt: skip


class Interrupted(BaseException):
    pass


class Asked:
    """A Gaussian that is interrupted at one of its evaluations."""

    def __init__(self, last: float = float("inf")) -> None:
        self.calls, self.last = 0, last

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > self.last:
            raise Interrupted
        return -0.5 * ((x - 1.0) / 0.6).square().sum(1)


def files(folder: Path) -> dict[str, object]:
    """What a run leaves, without what the clock measured."""
    kept = [*folder.glob("*.safetensors"), *folder.glob("*-losses.json")]
    left: dict[str, object] = {path.name: path.read_bytes() for path in kept}
    about = json.loads((folder / "stack.json").read_text())
    about["layers"] = [{k: v for k, v in layer.items() if "seconds" not in k} for layer in about["layers"]]
    return {**left, "stack.json": about}


def test_thirty_interrupts_at_random_leave_equal_stacks(tmp_path: Path) -> None:
    asked = Asked()
    whole = Run(OwnTarget(asked, 2), SMALL, tmp_path / "whole").complete()
    calls = asked.calls
    draws = whole.sample(50, torch.Generator().manual_seed(0))
    chance = random.Random(0)
    for number in range(30):
        folder = tmp_path / str(number)
        with pytest.raises(Interrupted):
            Run(OwnTarget(Asked(chance.randrange(3, calls)), 2), SMALL, folder).complete()
        again = Run(OwnTarget(Asked(), 2), SMALL, folder).complete()
        assert files(folder) == files(tmp_path / "whole"), number
        assert "000-losses.json" in files(folder)
        assert torch.equal(again.sample(50, torch.Generator().manual_seed(0)).x, draws.x)


def test_no_two_stages_draw_from_one_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, keys = train.generator_for, []

    def recorded(seed: int, phase: str, index: int, device: str | torch.device = "cpu") -> torch.Generator:
        if phase != "settle":  # every round of the first flow is looked at on the same points
            keys.append((phase, index))
        return real(seed, phase, index, device)

    for module in (train, start):
        monkeypatch.setattr(module, "generator_for", recorded)
    Run(OwnTarget(Asked(), 2), SMALL, tmp_path).complete()
    assert {"flow", "reject"} <= {phase for phase, _ in keys}
    assert len(keys) == len(set(keys))
    assert real(0, "flow", 0).initial_seed() != real(0, "flow", 1).initial_seed() != real(0, "weigh", 1).initial_seed()


def test_a_density_with_the_same_values_and_another_gradient_is_refused(tmp_path: Path) -> None:
    Run(OwnTarget(lambda x: -x.square().sum(1), 2), QUICK, tmp_path)

    def half_of_it(x: Tensor) -> Tensor:
        value = -x.square().sum(1)
        return 0.5 * value + 0.5 * value.detach()

    with pytest.raises(ResumeMismatch, match="another density of the name own: the slope of log g at probe"):
        Run(OwnTarget(half_of_it, 2), QUICK, tmp_path)
    with pytest.raises(ConfigError, match="log_density has no gradient"):
        Run(OwnTarget(lambda x: -x.detach().square().sum(1), 2), QUICK, tmp_path / "other")


def test_the_layers_on_disk_decide_what_is_left_to_do(tmp_path: Path) -> None:
    run = Run(OwnTarget(Asked(), 2), SMALL, tmp_path)
    run.complete()
    before = files(tmp_path)
    about = json.loads((tmp_path / "stack.json").read_text())
    (tmp_path / "stack.json").write_text(json.dumps({**about, "layers": about["layers"][:3]}))
    assert run.next_stage(3) is not None
    assert len(run.stack().layers) == 3
    run.complete()
    assert files(tmp_path) == before
    (tmp_path / "stack.json").write_text(json.dumps({**about, "layers": about["layers"][:2]}))
    with pytest.raises(ConfigError, match="are not of the plan"):
        run.finished()
