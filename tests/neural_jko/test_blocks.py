"""Blocks follow while the ESS is low, and end where one does not help; an interrupt changes nothing of it."""

from pathlib import Path

import pytest

from gsi_node.neural_jko import train
from gsi_node.neural_jko.config import JKOConfig, LayerStage
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.saved import read_records
from gsi_node.neural_jko.targets import named
from gsi_node.types import Plain
from tests.neural_jko.small import QUICK, two_modes

PLAN = QUICK.model_copy(update={"blocks": 3, "wanted_ess": 0.999, "rejections": 1, "steps": 20, "weighing": 2048})


def layer(kind: str, ess: float) -> Plain:
    return {"kind": kind, "ess": ess}


def test_a_block_follows_where_the_last_layer_falls_short() -> None:
    config = JKOConfig(blocks=2, first_rejections=1, rejections=1)
    first = [layer("flow", 0.2), layer("rejection", 0.3)]
    assert config.next_stage(first) == LayerStage("flow", 1)
    assert config.next_stage([layer("flow", 0.2), layer("rejection", 0.6)]) is None
    assert config.next_stage([layer("flow", 0.6)]) == LayerStage("rejection", 1)  # the plan's own, not a block
    assert config.next_stage([*first, layer("flow", 0.4), layer("rejection", 0.45)]) == LayerStage("flow", 1)
    assert config.next_stage([*first, *first, *first]) is None
    assert config.next_stage([first[0], first[1] | {"stopped": "no better"}]) is None
    assert config.next_stage([], 0.5) == LayerStage("rejection", 1)
    assert config.next_stage([], 0.4) == LayerStage("flow", 1)
    assert config.model_copy(update={"wanted_ess": None}).next_stage([], 0.9) == LayerStage("flow", 1)


def test_rejections_end_where_their_ess_is_enough_and_not_before() -> None:
    config, stage = JKOConfig(enough_ess=0.9), LayerStage("rejection", 3)
    low, high = layer("rejection", 0.8), layer("rejection", 0.9)
    assert config.made_of(stage, [low, high, high]) == 2  # the next is not of this stage
    assert config.made_of(stage, [low, low, low, low]) == 3
    assert config.made_of(stage, [low, low]) == config.made_of(stage, [low, layer("flow", 0.95)]) == 0
    assert config.made_of(stage, []) == config.made_of(stage, [layer("flow", 0.95)]) == 0
    assert config.made_of(LayerStage("flow", 1), [layer("flow", 0.95), high]) == 1
    every = config.model_copy(update={"enough_ess": None})
    assert every.made_of(stage, [low, high]) == 0
    assert every.made_of(stage, [low, high, high]) == 3


def test_a_flow_that_does_not_help_is_dropped_and_ends_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, spent = train.fit_flow, []

    def ever_worse(*given: object) -> Flow:
        made = real(*given)  # type: ignore[arg-type]
        spent.append(made.ess)
        return Flow(made.velocity, made.steps, made.ess if len(spent) < 3 else 0.01)

    monkeypatch.setattr(train, "fit_flow", ever_worse)
    run = Run(two_modes(2), PLAN, tmp_path)
    assert run.grow(0) == 1
    assert run.grow(1) == 2
    before = read_records(tmp_path)[-1]
    depth = len(run.complete().layers)
    records = run.finished()
    assert ([record["kind"] for record in records], depth) == (["flow", "flow", "rejection"], 3)
    assert "an ESS of 0.010 for" in records[-1]["stopped"]
    assert records[-1]["cpu_seconds"] > 0
    assert run.next_stage(depth) is None
    fits = len(spent)
    again = Run(two_modes(2), PLAN, tmp_path)
    assert again.grow(depth) == depth
    assert len(again.complete().layers) == depth
    assert len(spent) == fits  # what was found not to help is not fitted again
    assert before["kind"] == "flow"


def test_a_block_helps_where_the_first_flow_is_poor(tmp_path: Path) -> None:
    """8 modes after 60 steps of likelihood: the share of effective draws rises with every layer, and E log w by half a
    nat at least."""
    config = JKOConfig(
        width=48, gate=16, likelihood_steps=60, rounds=0, first_rejections=2, rejections=2, blocks=1, steps=150,
        wanted_ess=0.9, optimizer="adam", learning_rate=1e-2, particles=2048, calibration=2048, weighing=4096,
        log_z_error=None, ode_tolerance=0.05,
    )  # fmt: skip
    run = Run(named("8modes"), config, tmp_path)
    run.complete()
    records = run.finished()
    assert [record["kind"] for record in records] == ["flow", "rejection", "rejection"] * 2
    shares = [record["ess"] for record in records]
    assert shares == sorted(shares)
    bounds = [
        float(run.stack(depth).sample(3000, train.generator_for(0, "test", 0), log_g=True).log_weights().mean())
        for depth in (3, 6)
    ]
    assert bounds[0] + 0.5 < bounds[1] < 0.05
