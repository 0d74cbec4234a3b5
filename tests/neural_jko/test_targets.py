"""Targets against oracles of torch.distributions and quadrature; metrics against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.check import refuse_unnormalisable
from gsi_node.neural_jko.frame import round_frame
from gsi_node.neural_jko.known import Funnel, Mixture, Mustache, eight_modes, gmm, mog40
from gsi_node.neural_jko.metrics import (
    distance,
    energy_distance,
    forward_kl,
    log_z,
    log_z_lower,
    mode_error,
    mode_weights,
    relative_noise,
    reverse_kl,
)
from gsi_node.neural_jko.targets import FIXED, TARGETS, KnownTarget, OwnTarget, named, with_truth
from gsi_node.types import Array


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "cox"])
def test_every_target_is_known_and_looks_normalisable(name: str) -> None:
    target = with_truth(named(name))
    assert (target.name, target.log_z) == (name, 0.0)
    x = target.sample(50, stream())
    assert x.shape == (50, target.dim)
    assert torch.isfinite(target.log_density(x)).all()
    refuse_unnormalisable(target, round_frame(target.dim), stream())
    assert not isinstance(OwnTarget(target.log_density, target.dim), KnownTarget)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="8modes"):
        named("9modes")


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_for_what_is_not_drawn_is_refused(name: str, tmp_path: Path) -> None:
    points = tmp_path / "points"
    points.write_text("0.5 0.5\n")
    if name in FIXED:
        with pytest.raises(ConfigError, match=f"target seed 0: nothing of {name} is drawn; leave it out"):
            named(name, 0)
    else:
        assert torch.equal(*(named(name, seed).log_density(torch.zeros(1, named(name).dim)) for seed in (0, None)))
    with pytest.raises(ConfigError, match="which .* gives" if name == "cox" else "takes none|nothing of"):
        named(name, 3, points)
    if name != "cox":
        with pytest.raises(ConfigError, match=f"target {name} takes none; only cox does"):
            named(name, points=points)


def test_the_means_of_a_mixture_are_drawn_from_the_user_s_seed() -> None:
    for name in ("gmm10", "mog40"):
        x = with_truth(named(name)).sample(5, stream())
        first, again, other = (named(name, seed).log_density(x) for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert bool((first > other + 10.0).all())  # no mode of the other lies there


@pytest.mark.parametrize("target", [eight_modes(), eight_modes(0.005, "8peaky"), gmm(10), mog40()])
def test_mixtures_are_the_library_s(target: Mixture) -> None:
    parts = Independent(Normal(target.means, math.sqrt(target.variance)), 1)
    oracle = MixtureSameFamily(Categorical(torch.ones(len(target.means))), parts)
    x = target.sample(100, stream())
    assert target.log_density(x).tolist() == pytest.approx(oracle.log_prob(x).tolist(), abs=1e-6)


def test_the_means_are_the_paper_s() -> None:
    means = eight_modes().means
    assert (means - torch.tensor([-1.0, 0.0])).norm(dim=1).tolist() == pytest.approx([1.0] * 8)
    assert means[0].tolist() == pytest.approx([0.0, 0.0])
    assert means[4].tolist() == pytest.approx([-2.0, 0.0])
    assert torch.equal(gmm(20).means, gmm(20).means)
    assert float(gmm(200).means.abs().max()) <= 1.0


def test_the_funnel_is_its_two_normals() -> None:
    x = Funnel().sample(100, stream())
    oracle = Normal(0.0, 3.0).log_prob(x[:, 0]) + Normal(0.0, torch.exp(x[:, :1] / 2)).log_prob(x[:, 1:]).sum(1)
    assert Funnel().log_density(x).tolist() == pytest.approx(oracle.tolist(), rel=1e-5)


def test_the_mustache_is_a_gaussian_in_other_coordinates() -> None:
    x = Mustache().sample(100, stream())
    straight = torch.stack([x[:, 0], x[:, 1] - (x[:, 0] ** 2 - 1) ** 2], dim=1)
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
    oracle = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(straight)
    assert Mustache().log_density(x).tolist() == pytest.approx(oracle.tolist(), abs=1e-5)
    many = Mustache().sample(50_000, stream(1))
    inner = torch.stack([many[:, 0], many[:, 1] - (many[:, 0] ** 2 - 1) ** 2])
    assert torch.cov(inner).flatten().tolist() == pytest.approx([1.0, 0.9, 0.9, 1.0], abs=0.03)


def by_hand(x: Array, y: Array) -> float:
    """Half of Székely and Rizzo's energy distance, pair by pair."""

    def mean(a: Array, b: Array) -> float:
        return float(np.mean([np.linalg.norm(p - q) for p in a for q in b]))

    return mean(x, y) - 0.5 * mean(x, x) - 0.5 * mean(y, y)


def test_energy_distance_by_hand_and_by_distribution_functions() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)) + 0.5
    assert energy_distance(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(by_hand(x, y))
    a, b = np.sort(x[:, 0]), np.sort(y[:, 0])  # in one dimension: ∫ (F − G)²
    points = np.sort(np.concatenate([a, b]))
    f, g = (np.searchsorted(s, points, side="right") / len(s) for s in (a, b))
    integral = float((((f - g) ** 2)[:-1] * np.diff(points)).sum())
    assert energy_distance(torch.from_numpy(a[:, None]), torch.from_numpy(b[:, None])) == pytest.approx(integral)


def test_the_floor_is_the_mean_distance_over_n() -> None:
    """E D = E‖X − X'‖ / n for two samples of one law: the published floors (n = 50,000) follow from it."""
    target = eight_modes()
    x, y = target.sample(20_000, stream(1)), target.sample(20_000, stream(2))
    mean = float((x - y).norm(dim=1).mean())
    draws = stream()
    pairs = [distance(target.sample(500, draws), target.sample(500, draws)) for _ in range(30)]
    energies, relative = (np.array(column) for column in zip(*pairs, strict=True))
    assert float(energies.mean()) == pytest.approx(mean / 500, abs=4 * float(energies.std()) / math.sqrt(30))
    spread = float(relative.std())  # ρ is free of n: 0, with a spread that falls as 1/n
    assert float(relative.mean()) == pytest.approx(0.0, abs=4 * spread / math.sqrt(30))
    assert relative_noise(target, 500, stream(3)) == pytest.approx(spread, rel=0.6)
    assert relative_noise(target, 20_000, stream(3)) == pytest.approx(relative_noise(target, 2000, stream(3)) / 10)
    assert mean / 50_000 == pytest.approx(2.6e-5, abs=0.05e-5)


def test_log_z_of_known_weights() -> None:
    log_w = np.log(np.random.default_rng(0).gamma(4.0, 0.5, size=20_000))  # mean weight 2
    estimate = log_z(log_w)
    assert estimate.value == pytest.approx(math.log(2.0), abs=4 * estimate.error)
    assert estimate.error == pytest.approx(0.5 / math.sqrt(20_000), rel=0.05)
    assert log_z_lower(log_w).value < math.log(2.0) - 0.1


def test_both_kls_of_gaussians_with_their_errors() -> None:
    """p = N(0, 1), q = N(m, s²), g = e³ q: closed forms, and errors that are the spread over 200 samples."""
    rng, m, s = np.random.default_rng(0), 0.4, 1.2
    to_q = math.log(s) + (1 + m**2) / (2 * s**2) - 0.5  # KL(p ‖ q)
    from_q = -math.log(s) + (s**2 + m**2) / 2 - 0.5  # KL(q ‖ p)

    def log_w(x: Array) -> Array:  # log g − log p
        return 3.0 - math.log(s) - 0.5 * ((x - m) / s) ** 2 + 0.5 * x**2

    reverse = [reverse_kl(log_w(rng.normal(size=4000))) for _ in range(200)]
    forward = [forward_kl(log_w(m + s * rng.normal(size=4000)) - 3.0) for _ in range(200)]
    for estimates, kl in ((reverse, to_q), (forward, from_q)):
        values, errors = (np.array(column) for column in zip(*estimates, strict=True))
        spread = float(values.std())
        assert float(values.mean()) == pytest.approx(kl, abs=4 * spread / math.sqrt(200) + 2e-4)
        assert float(errors.mean()) == pytest.approx(spread, rel=0.2)
    assert forward_kl(np.zeros(9), model_error=0.25).error == 0.25


def test_mode_weights() -> None:
    means = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    weights = mode_weights(torch.tensor([[0.1, 0.0], [3.0, 1.0], [5.0, 0.0], [2.5, 0.0]]), means)
    assert weights == [0.25, 0.75]
    assert mode_error(weights) == pytest.approx(2 * 0.25**2)
