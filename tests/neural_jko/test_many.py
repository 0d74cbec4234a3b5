"""Flows beyond ten dimensions: fresh draws a step, gates of single coordinates, and no flow that is worse than none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gsi_node.neural_jko import train
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.forecast import LIKELY, UnitCosts, seconds_left
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.saved import load
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import OwnTarget
from gsi_node.neural_jko.train import Aim, OnProgress, fit_flow
from gsi_node.neural_jko.velocity import Velocity, VelocityShape

DIM = 40
FIT = JKOConfig(width=8, gate=0, own=2, latent_steps=60, optimizer="adam", learning_rate=2e-2, calibration=2048)
PLAN = FIT.model_copy(update={"first_rejections": 3, "blocks": 1, "weighing": 4096})


def skewed(x: torch.Tensor) -> torch.Tensor:
    """Coordinates apart, each a standard normal bent to one side: log-concave."""
    return (x - x.exp()).sum(1)


TARGET = OwnTarget(skewed, DIM, "skewed")


def test_a_flow_on_the_latent_alone_sees_fresh_draws_in_every_step() -> None:
    """So the number of kept particles is nothing to it; where they are kept, two of them are learned by heart."""
    flows = {}
    for coordinates in ("pilot", "latent"):
        for particles in (2, 8192):
            changes = {"coordinates": coordinates, "particles": particles, "steps": FIT.latent_steps, "own": 2}
            made = fit_flow(Stack(CheckedTarget(TARGET)), FIT.model_copy(update=changes), Aim())
            flows[coordinates, particles] = made
    same = [
        torch.equal(a, b)
        for a, b in zip(
            flows["pilot", 2].velocity.parameters(), flows["pilot", 8192].velocity.parameters(), strict=True
        )
    ]
    assert all(same)
    assert flows["latent", 2].ess < 0.5 * flows["latent", 8192].ess
    assert flows["pilot", 2].gain is not None and flows["pilot", 2].gain > 1.0
    assert flows["latent", 2].gain is None


def test_a_gate_of_its_own_bends_each_coordinate() -> None:
    gains = [fit_flow(Stack(CheckedTarget(TARGET)), FIT.model_copy(update={"own": own}), Aim()).gain for own in (0, 2)]
    assert gains[0] is not None and gains[1] is not None
    assert gains[1] > gains[0] + 1.0


def test_what_follows_from_the_dimension() -> None:
    config = JKOConfig()
    assert [config.network(dim)[:2] for dim in (2, 10, 64, 400)] == [(2, 140), (10, 188), (64, 512), (400, 81)]
    assert [config.network(dim).own for dim in (2, 10, 11, 400)] == [0, 0, 2, 2]
    assert [config.steps_in(dim, 0) for dim in (2, 100, 400)] == [400, 400, 1600]
    assert config.steps_in(400, 1) == 400
    paper = configured("paper", "gmm200")
    assert (paper.network(200).own, paper.steps_in(200, 0)) == (0, 5000)


def test_a_flow_with_its_own_gates_reads_back(tmp_path: Path) -> None:
    run = Run(TARGET, PLAN.model_copy(update={"first_rejections": 0, "blocks": 0}), tmp_path)
    stack = run.complete()
    assert [record["own"] for record in run.finished()] == [2]
    x = stack.sample(50, torch.Generator().manual_seed(0)).x
    assert torch.equal(load(tmp_path, TARGET).log_prob(x), stack.log_prob(x))


def planted(velocity: Velocity, loss: train.Loss, config: JKOConfig, effort: train.Effort, told: OnProgress) -> None:
    """In place of a fit: a flow that carries every point off."""
    with torch.no_grad():
        velocity.linears[-1].bias.fill_(1.0)


@pytest.mark.parametrize("first_rejections", [3, 0])
def test_a_first_flow_that_is_worse_than_none_is_dropped(
    first_rejections: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rejections can take its place. The plan ends with them, and a run that goes on fits it no more."""
    config = PLAN.model_copy(update={"first_rejections": first_rejections})
    monkeypatch.setattr(train, "optimise", planted)
    run = Run(TARGET, config, tmp_path)
    if not first_rejections:
        assert run.grow(0) == 1
        assert run.finished()[0]["kind"] == "flow"
        return
    depth = run.grow(0)
    records = run.finished()
    assert (depth, [record["kind"] for record in records]) == (3, ["rejection"] * 3)
    assert "a flow on the latent changed E log w by -" in records[0]["dropped"]
    assert records[-1]["stopped"] == records[0]["dropped"]
    assert run.next_stage(3) is None
    monkeypatch.setattr(train, "fit_flow", None)
    again = Run(TARGET, config, tmp_path)
    assert again.grow(0) == 3
    assert len(again.complete().layers) == 3
    unit = UnitCosts(latent=0.0, step=100.0, point=0.0, log_g=0.0, pair=0.0)
    assert seconds_left(again, 100, unit, LIKELY) < 100.0


def test_a_first_flow_that_helps_is_kept(tmp_path: Path) -> None:
    run = Run(TARGET, PLAN, tmp_path)
    assert run.grow(0) == 1
    assert run.finished()[0]["kind"] == "flow"


def test_the_network_of_few_dimensions_is_what_it_was() -> None:
    """No number is drawn for gates that are not there."""
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    old, new = (
        Velocity(VelocityShape(10, 12, 2, "mixed", 4), one),
        Velocity(JKOConfig(width=12, gate=4).network(10), other),
    )
    assert set(old.state_dict()) == set(new.state_dict())
    assert torch.equal(one.get_state(), other.get_state())
