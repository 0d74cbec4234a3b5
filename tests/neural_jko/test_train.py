"""Training: Gaussians recovered, a killed run goes on to the same model, and settings and targets that are refused."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from gsi_node.errors import ConfigError, DegenerateWeights, InvalidLogProb, NotNormalisable, ResumeMismatch
from gsi_node.neural_jko import flow, train
from gsi_node.neural_jko.check import CheckedTarget, refuse_unnormalisable
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.frame import round_frame
from gsi_node.neural_jko.metrics import log_z, log_z_lower
from gsi_node.neural_jko.presets import PRESETS, configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import TARGETS, OwnTarget, Target, named
from gsi_node.neural_jko.velocity import Velocity, VelocityShape
from tests.neural_jko.small import LOG_Z, QUICK, gaussian, trained

TINY = QUICK.model_copy(update={"steps": 12, "particles": 256, "weighing": 256, "calibration": 256})
ONE_FLOW = TINY.model_copy(update={"first_rejections": 2, "blocks": 0})


@pytest.mark.parametrize("dim", [1, 2])
def test_a_gaussian_is_recovered_with_its_constant(dim: int) -> None:
    particles = trained("gaussian", dim).sample(8000, torch.Generator().manual_seed(0), log_g=True)
    x, log_w = particles.x.double(), particles.log_weights()
    assert x.mean(0).tolist() == pytest.approx([1.0] * dim, abs=0.04)
    assert x.std(0).tolist() == pytest.approx([0.6] * dim, abs=0.03)
    assert log_z(log_w).value == pytest.approx(LOG_Z, abs=0.02)
    assert LOG_Z - 0.05 < log_z_lower(log_w).value < LOG_Z + 0.02


def test_a_loss_without_the_divergence_does_not_find_the_width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mutant: minimising −log g + ω/τ alone draws every particle towards the mode."""
    right = flow.solve

    def mutant(velocity: Velocity, x: torch.Tensor, **how: Any) -> flow.OdeSolution:
        out = right(velocity, x, **how)
        return out._replace(log_det=torch.zeros_like(out.log_det))

    monkeypatch.setattr(flow, "solve", mutant)
    config = QUICK.model_copy(update={"blocks": 0, "flows_first": 1})
    x = Run(gaussian(1), config, tmp_path).complete().sample(4000, torch.Generator().manual_seed(0)).x
    assert float(x.std()) < 0.52


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on_to_the_same_model(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"flows_first": 2})
    whole = Run(gaussian(2), config, tmp_path / "whole").complete()

    def kill(what: str, done: int, total: int, loss: float) -> None:
        if what == "flow 2" and done == 5:
            raise Killed

    with pytest.raises(Killed):
        Run(gaussian(2), config, tmp_path / "cut", told=kill).complete()
    assert len(Run(gaussian(2), config, tmp_path / "cut").finished()) == 2
    resumed = Run(gaussian(2), config, tmp_path / "cut").complete()
    draws = [s.sample(100, torch.Generator().manual_seed(1)) for s in (whole, resumed)]
    assert torch.equal(draws[0].x, draws[1].x)
    assert torch.equal(draws[0].log_prob, draws[1].log_prob)
    flows = [sorted((tmp_path / name).glob("*.safetensors")) for name in ("whole", "cut")]
    hashes = [[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] for paths in flows]
    assert len(hashes[0]) == 4  # three flows and the frame
    assert hashes[0] == hashes[1]


def test_another_setting_on_an_old_folder_is_refused_by_name(tmp_path: Path) -> None:
    Run(gaussian(1), TINY, tmp_path)
    with pytest.raises(ResumeMismatch, match=r"steps 12 → 13"):
        Run(gaussian(1), TINY.model_copy(update={"steps": 13}), tmp_path)
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(ConfigError, match=r"config\.json"):
        Run(gaussian(1), TINY, tmp_path)


def test_misspelt_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="inital_tau"):
        configured("cpu", "mustache", {"inital_tau": 0.05})
    with pytest.raises(ConfigError, match="rejection_rate"):
        configured("cpu", "8modes", {"rejection_rate": 1.5})
    with pytest.raises(ConfigError, match="known are cpu, paper"):
        configured("gpu", "8modes")
    with pytest.raises(ConfigError, match="rounds: of a first flow that starts by maximum likelihood; want 0"):
        configured("cpu", "8modes", {"likelihood_steps": 0, "rounds": 2})
    assert configured("cpu", "8modes", {"likelihood_steps": 0}).likelihood_steps == 0


@pytest.mark.parametrize("latent", [{"latent_mean": (0.0, 1.0)}, {"latent_scale": 2.0}])
def test_a_latent_that_the_pilot_would_not_read_is_refused(latent: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match="^settings of neural JKO: latent_mean, latent_scale: coordinates=pilot finds its own"
    ):
        configured("cpu", "8modes", latent)
    own = configured("cpu", "8modes", {**latent, "coordinates": "latent", "likelihood_steps": 0})
    assert own.coordinates == "latent"


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("target", list(TARGETS))
def test_every_preset_is_valid(preset: str, target: str) -> None:
    config = configured(preset, target)
    plan = config.plan()
    assert plan.count("flow") == config.flows_first + config.blocks
    assert config.tau_of(plan.index("rejection")) == pytest.approx(
        config.tau * config.tau_growth ** plan.index("rejection")
    )
    assert preset == "paper" or config == JKOConfig()  # one setting for every density


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("mustache", (0.05, 4.0, 6, 6, 54, 5000)),
        ("8modes", (0.05, 4.0, 2, 4, 54, 5000)),
        ("8peaky", (0.01, 4.0, 2, 4, 54, 5000)),
        ("funnel", (5.0, 4.0, 4, 6, 256, 10_000)),
        ("gmm10", (0.0025, 2.0, 4, 6, 70, 5000)),
        ("gmm200", (0.001, 2.0, 5, 8, 512, 5000)),
    ],
)
def test_the_preset_of_the_paper_is_the_paper_s(target: str, told: tuple[float, ...]) -> None:
    """τ, its growth, flows, blocks, width, steps; no pilot, no likelihood, plain Adam, and every block is made."""
    config = configured("paper", target)
    settings = config.model_dump()
    numbers = [settings[key] for key in ("tau", "tau_growth", "flows_first", "blocks", "width", "steps")]
    assert numbers == list(told)
    off = {"coordinates": "latent", "likelihood_steps": 0, "rounds": 0, "first_rejections": 0, "tempered": 0.0}
    plain = {"optimizer": "adam", "activation": "tanh", "gate": 0, "proposal_ess": 1.0, "wanted_ess": None}
    assert {key: settings[key] for key in off | plain} == off | plain
    assert config.plan() == ["flow"] * config.flows_first + ["flow", *["rejection"] * 3] * config.blocks


def test_the_preset_of_the_paper_runs(tmp_path: Path) -> None:
    few = {
        "steps": 2,
        "particles": 64,
        "batch_size": 32,
        "calibration": 64,
        "weighing": 64,
        "blocks": 1,
        "flows_first": 1,
    }
    stack = Run(named("8modes"), configured("paper", "8modes", few), tmp_path).complete()
    assert torch.equal(stack.frame.to_x(torch.eye(2)), torch.eye(2).double())
    assert stack.sample(10, torch.Generator().manual_seed(0)).x.shape == (10, 2)


def run_on(target: Target, tmp_path: Path, **changes: object) -> None:
    Run(target, TINY.model_copy(update=changes), tmp_path).complete()


def test_nan_names_the_point(tmp_path: Path) -> None:
    target = OwnTarget(lambda x: torch.where(x[:, 0] > 0.5, math.nan, -x.square().sum(1)), 2, "holed")
    with pytest.raises(InvalidLogProb, match=r"target holed: log-density nan at \["):
        run_on(target, tmp_path)
    with pytest.raises(InvalidLogProb, match="inf"):
        CheckedTarget(OwnTarget(lambda x: x[:, 0] * math.inf, 1))(torch.ones(3, 1))


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"has shape \(3, 1\); want \(3,\)"):
        CheckedTarget(OwnTarget(lambda x: -x.square(), 1))(torch.ones(3, 1))


@pytest.mark.parametrize(
    ("what", "f"),
    [
        ("flat", lambda x: 0.0 * x[:, 0]),
        ("wrong sign", lambda x: x.square().sum(1)),
        ("flat in one direction", lambda x: -x[:, 0].square()),
        ("heavy tail", lambda x: -torch.log1p(x.square().sum(1))),  # 1 / (1 + r²) in the plane
    ],
)
def test_a_density_without_a_finite_integral_is_refused(what: str, f, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotNormalisable, match="does not fall"):
        run_on(OwnTarget(f, 2, what.replace(" ", "-")), tmp_path)


def test_heavy_but_finite_tails_pass() -> None:
    cauchy = OwnTarget(lambda x: -torch.log1p(x[:, 0].square()), 1, "cauchy")
    refuse_unnormalisable(cauchy, round_frame(1), torch.Generator().manual_seed(0))


def test_a_model_that_misses_the_target_is_named(tmp_path: Path) -> None:
    """Mass only beyond 4: nearly every particle has weight zero."""
    target = OwnTarget(lambda x: torch.where(x[:, 0] > 4.0, -x.square().sum(1), -math.inf), 1, "far")
    with pytest.raises((DegenerateWeights, NotNormalisable)):
        run_on(target, tmp_path)
    with pytest.raises(DegenerateWeights, match="have weight zero"):
        train.reject(Stack(CheckedTarget(target), [Flow(Velocity(VelocityShape(1, 4, 1)), 1)]), ONE_FLOW, 1)


def test_the_record_of_a_run_is_plain_json(tmp_path: Path) -> None:
    Run(gaussian(1), TINY, tmp_path).complete()
    about = json.loads((tmp_path / "stack.json").read_text("utf-8"))
    assert [layer["kind"] for layer in about["layers"]] == TINY.plan()
    for first in (0, 1, 2):  # two flows, and the rejection layers of the second, which are made together
        assert about["layers"][first]["evaluations"] > 0 and about["layers"][first]["seconds"] > 0
    assert JKOConfig.model_validate(TINY.model_dump(mode="json")) == TINY
