"""The Cox process' truth on four cells, where quadrature knows everything."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from evals.jko import long_chains
from evals.jko.truth import read_truth
from evals.jko.twins import twin
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.screen import screen
from gsi_node.neural_jko.cox import MEAN, Cox, covariance
from gsi_node.neural_jko.known import Mixture

pytestmark = pytest.mark.filterwarnings("ignore")  # jax and blackjax warn of their own accord
FOUR = Cox(torch.tensor([[0.1, 0.2], [0.2, 0.3], [0.2, 0.8], [0.9, 0.1], [0.9, 0.9], [0.6, 0.7]] * 3), side=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHAINS": 20, "PARTS": 3, "KEPT": 100, "PATHS": 8, "PARTICLES": 300}.items():
        monkeypatch.setattr(long_chains, name, value)


def by_quadrature(target: Cox) -> tuple[float, list[float]]:
    """log ∫ g and the means of y, by Gauss and Hermite's rule of the prior's independent coordinates."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    grid = np.array(list(product(nodes, repeat=4)))
    weight = np.prod(np.array(list(product(weights, repeat=4))), axis=1) / (2 * math.pi) ** 2
    y = MEAN + grid @ torch.linalg.cholesky(covariance(2)).numpy().T
    counts = target.counts.numpy()
    rates = np.exp(y) / 4
    likelihood = np.exp((counts * np.log(rates) - rates - [math.lgamma(k + 1) for k in counts]).sum(1))
    total = float(weight @ likelihood)
    return math.log(total), [float(mean) for mean in (weight * likelihood) @ y / total]


@pytest.mark.usefixtures("small")
def test_four_cells_are_known_by_quadrature(tmp_path: Path) -> None:
    told = long_chains.found(FOUR, tmp_path, screen())
    log_z, means = by_quadrature(FOUR)
    assert told["log_z"] == pytest.approx(log_z, abs=4 * told["log_z_error"])
    assert told["log_z_error"] < 0.1
    truth = read_truth(tmp_path / "truth.npz", FOUR)
    assert (len(truth.draws), truth.log_z) == (6000, told["log_z"])
    error = truth.draws.std(0) / math.sqrt(told["least_ess"])
    assert bool(((truth.draws.mean(0) - torch.tensor(means)).abs() < 4 * error).all())
    before = (tmp_path / "truth.npz").read_bytes(), json.loads((tmp_path / "truth.json").read_text())
    for name in ("draws-01.npy", "draws-02.npy", "truth.npz", "truth.json"):  # as after a kill
        (tmp_path / name).unlink()
    assert long_chains.found(FOUR, tmp_path, screen()) == told
    assert ((tmp_path / "truth.npz").read_bytes(), told) == before
    with pytest.raises(ConfigError, match="rows of another cox"):
        long_chains.found(Cox(torch.rand(5, 2), side=2), tmp_path, screen())
    (tmp_path / "draws-01.npy").write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"draws-01\.npy: no array"):
        long_chains.found(FOUR, tmp_path, screen())


def test_the_laplace_coordinates_are_those_of_the_maximum() -> None:
    import jax

    gaussian = Mixture("one", torch.tensor([[3.0, -2.0]], dtype=torch.float64), 4.0)
    with jax.enable_x64(True):
        frame = long_chains.laplace(twin(gaussian), 2)
    assert frame.centre.tolist() == pytest.approx([3.0, -2.0], abs=1e-5)
    assert (frame.matrix @ frame.matrix.t()).flatten().tolist() == pytest.approx([4.0, 0.0, 0.0, 4.0], abs=1e-5)


def test_chains_apart_are_refused() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(10, 200, 2))
    together = long_chains.diagnosed(z)
    long_chains.refuse_disagreeing(together)
    assert together["r_hat"] < 1.01
    assert together["least_ess"] > 1000
    wider = z * np.linspace(0.5, 1.5, 10)[:, None, None]  # the same means
    told = long_chains.diagnosed(wider)
    assert told["r_hat"] > 1.05
    with pytest.raises(GSIError, match="the chains do not agree"):
        long_chains.refuse_disagreeing(told)
    slow = np.cumsum(z, axis=1)
    with pytest.raises(GSIError, match="the chains do not agree"):
        long_chains.refuse_disagreeing(long_chains.diagnosed(slow))


def test_pooled_is_the_mean_of_z() -> None:
    told = long_chains.pooled(np.log(np.array([1.0, 3.0])) - 1000.0)
    assert told["log_z"] == pytest.approx(math.log(2.0) - 1000.0)
    assert told["log_z_error"] == pytest.approx(0.5)
