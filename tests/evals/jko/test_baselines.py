"""HMC, MALA and SMC at the model's budget: the twins of the targets, what is counted, and exact laws."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from evals.__main__ import main
from evals.jko import mcmc, smc, twins
from evals.jko.baselines import Baseline, baselines
from gsi_node.errors import ConfigError
from gsi_node.neural_jko import presets
from gsi_node.neural_jko.frame import round_frame
from gsi_node.neural_jko.known import Funnel, Mixture
from gsi_node.neural_jko.targets import OwnTarget, named

pytestmark = pytest.mark.filterwarnings("ignore")  # jax and blackjax warn of their own accord
QUICK = {
    "first_rejections": 2, "blocks": 1, "likelihood_steps": 5, "rounds": 0, "steps": 5, "width": 16, "particles": 256,
    "weighing": 64, "calibration": 64, "optimizer": "adam",
}  # fmt: skip
SHIFTED = Mixture("shifted", torch.tensor([[3.0, -1.0], [4.0, 0.5]], dtype=torch.float64), 0.5)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["8modes", "mustache", "funnel", "gmm10", "mog40", "cox"])
def test_the_twin_is_the_target_and_its_gradient(name: str) -> None:
    target = named(name)
    scale, centre = {"cox": (1.0, 3.9), "mog40": (40.0, 0.0)}.get(name, (1.0, 0.0))
    x = (centre + scale * torch.randn(20, target.dim, generator=stream(), dtype=torch.float64)).requires_grad_()
    values = target.log_density(x)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    with jax.enable_x64(True):
        own, slopes = jax.vmap(jax.value_and_grad(twins.twin(target)))(x.detach().numpy())
    assert np.asarray(own) == pytest.approx(values.detach().numpy(), rel=1e-9)
    assert np.asarray(slopes) == pytest.approx(gradient.numpy(), rel=1e-7, abs=1e-7)


def test_a_target_without_a_twin_is_named() -> None:
    with pytest.raises(ConfigError, match="target own: no twin"):
        twins.twin(OwnTarget(lambda x: x.sum(1), 2))


@pytest.mark.parametrize("name", ["mala", "hmc"])
def test_chains_spend_what_they_say_and_no_more_than_their_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(twins, "twin", lambda target: counting(lambda x: -0.5 * (x**2).sum(), counted))
    made = mcmc.run(name, Funnel(2), torch.zeros(3, 2), 2500, 100, seed=0)
    jax.effects_barrier()
    assert len(counted) == made.evaluations
    assert 2300 <= made.evaluations <= 2500
    assert (made.chains, len(made.x)) == (3, 100)
    with pytest.raises(ConfigError, match="50 evaluations are too few"):
        mcmc.run(name, Funnel(2), torch.zeros(3, 2), 50, 100, seed=0)


def counting(density: twins.JaxLogDensity, counted: list[int]) -> twins.JaxLogDensity:
    def log_g(x: jax.Array) -> jax.Array:
        jax.debug.callback(lambda _: counted.append(1), x[0])
        return density(x)

    return log_g


@pytest.mark.parametrize("name", ["mala", "hmc"])
def test_chains_forget_their_start(name: str) -> None:
    """One Gaussian of two means: every coordinate's mean and variance, by 10 chains from far away."""
    start = torch.full((10, 2), 20.0, dtype=torch.float64)
    x = mcmc.run(name, SHIFTED, start, 100_000, 5000, seed=1).x
    assert x.mean(0).tolist() == pytest.approx([3.5, -0.25], abs=0.12)
    assert x.var(0).tolist() == pytest.approx([0.75, 0.5 + 0.5625], abs=0.15)


def test_one_leapfrog_step_is_mala_s_proposal() -> None:
    """x' = x + ε²/2 ∇ log g + ε ξ, accepted by Metropolis and Hastings' ratio of it: by hand."""
    import blackjax

    epsilon = 0.4
    with jax.enable_x64(True):
        density = twins.twin(SHIFTED)
        slope = jax.grad(density)
        sampler = blackjax.hmc(density, epsilon, np.ones(2), mcmc.LEAPFROGS["mala"])
        state = sampler.init(np.array([2.0, 1.0]))
        for seed in range(5):
            _, info = sampler.step(jax.random.key(seed), state)
            x, y = state.position, info.proposal.position
            forth = y - x - 0.5 * epsilon**2 * slope(x)
            back = x - y - 0.5 * epsilon**2 * slope(y)
            assert np.asarray(forth) == pytest.approx(epsilon * np.asarray(info.momentum), abs=1e-12)
            ratio = density(y) - density(x) + (forth @ forth - back @ back) / (2 * epsilon**2)
            assert float(info.acceptance_rate) == pytest.approx(min(1.0, math.exp(float(ratio))), abs=1e-12)


def test_tempered_particles_have_the_target_s_law_and_integral() -> None:
    """log ∫ g = 0, and the mean and variance of g, up to noise."""
    made = smc.run(SHIFTED, round_frame(2, scale=10.0), 60_000, 4000, seed=3)
    assert made.log_z == pytest.approx(0.0, abs=0.2)
    assert made.x.mean(0).tolist() == pytest.approx([3.5, -0.25], abs=0.12)
    assert made.x.var(0).tolist() == pytest.approx([0.75, 1.0625], abs=0.2)
    assert 50_000 <= made.evaluations <= 60_000


def test_rows_are_blind_and_from_the_pilot() -> None:
    assert [one.method for one in baselines(["hmc"], None)] == ["HMC, blind"]
    assert Baseline("smc", None).file == "smc"


def test_the_command_writes_their_rows_at_the_model_s_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "cpu", lambda target: QUICK)
    arguments = ["jko", "--targets", "8modes", "--out", str(tmp_path), "--seeds", "0", "--samples", "300"]
    arguments += ["--baselines", "mala"]
    assert main(arguments) == 0
    rows = {row["method"]: row for row in json.loads((tmp_path / "jko.json").read_text("utf-8"))}
    own = rows["neural JKO"]
    budget = own["evaluations"] + own["sampling_evaluations"]
    for method in ("MALA, blind", "MALA from the pilot"):
        assert 0.9 * budget <= rows[method]["evaluations"] <= budget, method
    kept = {path.name for path in (tmp_path / "8modes" / "seed-0").glob("*-300.json")}
    assert kept == {"row-300.json", "pilot-300.json", "mala-300.json", "mala-pilot-300.json"}
    before = (tmp_path / "jko.json").read_bytes()
    monkeypatch.setattr(Baseline, "draw", None)
    assert main(arguments) == 0
    assert (tmp_path / "jko.json").read_bytes() == before
