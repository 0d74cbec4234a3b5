"""The rejection–resampling layer: its exact law on a finite space, and no f-divergence to the target that grows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gsi_node.core import accept
from gsi_node.core.accept import log_resampling_factor, replaced_law, weight_log_accept
from gsi_node.errors import DegenerateWeights
from gsi_node.neural_jko.rejection import (
    Particles,
    Rejection,
    RejectionPlan,
    WeightPool,
    fit_rejections,
    log_z_error,
    outlook,
)
from gsi_node.types import Array

GRID = 2000  # uniforms an atom: the law of the production code is then exact to 1/GRID

F: dict[str, Callable[[Array], Array]] = {  # D_f = Σ t f(p / t)
    "KL(p ‖ t)": lambda r: np.where(r > 0, r * np.log(np.maximum(r, 1e-300)), 0.0),
    "KL(t ‖ p)": lambda r: -np.log(np.maximum(r, 1e-300)),
    "χ²": lambda r: (r - 1.0) ** 2,
    "total variation": lambda r: np.abs(r - 1.0) / 2,
    "Hellinger²": lambda r: (np.sqrt(r) - 1.0) ** 2,
}

laws = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=7)


def normal(values: list[float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(array / array.sum())


def atoms(p: Array, g: Array) -> Particles:
    """One particle an atom of the finite space, its index as the point."""
    return Particles(torch.arange(len(p))[:, None], torch.from_numpy(np.log(p)), torch.from_numpy(np.log(g)))


def oracle(p: Array, g: Array, c: float) -> Array:
    """The layer in words: keep x with min(1, g/(p c)), else one fresh draw of p."""
    law = np.zeros_like(p)
    for x, mass in enumerate(p):
        kept = min(1.0, g[x] / (p[x] * c))
        law[x] += mass * kept
        law += mass * (1.0 - kept) * p
    return law


@given(laws, st.lists(st.floats(0.01, 5.0), min_size=7, max_size=7), st.floats(-3, 3))
def test_the_claimed_density_is_the_law_and_no_divergence_grows(p_: list[float], g_: list[float], log_c: float) -> None:
    check_law(normal(p_), np.asarray(g_[: len(p_)]), log_c)


def check_law(p: Array, g: Array, log_c: float) -> None:
    alpha = np.exp(weight_log_accept(np.log(g) - np.log(p), log_c))
    layer = Rejection(log_c, float((p * alpha).sum()))
    updated, _ = layer.updated(atoms(p, g))
    claimed = np.exp(updated.log_prob.numpy())
    assert claimed == pytest.approx(oracle(p, g, math.exp(log_c)), abs=1e-12)
    assert claimed == pytest.approx(
        replaced_law(p, alpha, p), abs=1e-12
    )  # the very formula of GSI's fallback, at q = p
    assert claimed.sum() == pytest.approx(1.0)
    target = g / g.sum()
    for name, f in F.items():
        assert (target * f(claimed / target)).sum() <= (target * f(p / target)).sum() + 1e-12, name


@given(laws, st.floats(-2, 2))
def test_the_particles_follow_the_claimed_density(p_: list[float], log_c: float) -> None:
    """The code that refuses, on every atom under a grid of uniforms: the accepted share of an atom is its α."""
    check_refusals(normal(p_), log_c)


def check_refusals(p: Array, log_c: float) -> None:
    g = p * np.linspace(0.1, 3.0, len(p))
    layer = Rejection(log_c, 0.5)
    _, log_accept = layer.updated(atoms(p, g))
    uniforms = (np.arange(GRID) + 0.5) / GRID
    refused = [len(layer.refused(np.full(GRID, value), uniforms)) / GRID for value in log_accept]
    assert 1.0 - np.asarray(refused) == pytest.approx(np.minimum(1.0, g / p / math.exp(log_c)), abs=1.0 / GRID)


def mutants() -> dict[str, Callable[[Array, float], Array]]:
    return {
        "α + Eα": lambda log_accept, mean: np.log(np.exp(log_accept) + mean),
        "α alone, renormalised": lambda log_accept, mean: log_accept - math.log(mean),
        "no correction": lambda log_accept, mean: np.zeros_like(log_accept),
    }


@pytest.mark.parametrize("name", list(mutants()))
def test_the_law_kills_mutants_of_the_factor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsi_node.neural_jko.rejection.log_resampling_factor", mutants()[name])
    with pytest.raises(AssertionError):
        check_law(np.array([0.2, 0.5, 0.3]), np.array([1.0, 0.4, 0.1]), 0.3)


def test_a_refusal_that_ignores_the_weight_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    constant = lambda self, log_accept, uniforms: np.flatnonzero(uniforms >= 0.8)  # noqa: E731
    monkeypatch.setattr(Rejection, "refused", constant)
    with pytest.raises(AssertionError):
        check_refusals(np.array([0.2, 0.5, 0.3]), 0.3)


def test_gsi_and_the_layer_share_their_acceptance() -> None:
    for log_w, log_c in [(-3.0, 0.5), (0.7, 0.5), (0.5, 0.5), (-math.inf, 0.0)]:
        assert accept.mean_weight_log_accept(log_w, log_c) == weight_log_accept([log_w], log_c)[0]
        assert accept.mean_weight_log_accept(log_w, log_c) == min(0.0, log_w - log_c)


def test_c_gives_the_wanted_rate_and_dead_particles_are_named() -> None:
    p = np.full(1000, 0.5)
    g = np.exp(np.random.default_rng(0).normal(size=1000) * 3)
    pool = WeightPool(np.log(g) - np.log(p))
    assert pool.add(pool.wanted_log_c(0.2)).accept_prob == pytest.approx(0.8, abs=1e-9)
    g[:300] = 0.0
    with np.errstate(divide="ignore"), pytest.raises(DegenerateWeights, match="300 of 1000"):
        WeightPool(np.log(g) - np.log(p)).wanted_log_c(0.2)


def test_a_pool_of_all_atoms_gives_every_layer_its_exact_law() -> None:
    """Atoms of equal mass under p_0, each once in the pool: E α is exact, and the laws are those of layer by layer."""
    p = np.full(40, 1 / 40)
    g = np.exp(2.0 * np.random.default_rng(1).normal(size=40))
    pool = WeightPool(np.log(g) - np.log(p))
    law = p
    for layer in fit_rejections(WeightPool(pool.log_w.copy()), pool, RejectionPlan(6, 0.2)):
        law = oracle(law, g, math.exp(layer.log_c))
    assert p * np.exp(pool.log_h) == pytest.approx(law, abs=1e-12)
    assert np.abs(law - g / g.sum()).sum() < 0.8 * np.abs(p - g / g.sum()).sum()


def test_the_stated_error_of_log_z_is_what_pools_scatter_by() -> None:
    """200 pools of 500 weights e^N(0, 1): ∫ p_5 of each, on 200,000 fresh weights, against the stated error."""
    rng = np.random.default_rng(2)
    fresh = rng.normal(size=200_000)
    log_masses, errors = [], []
    for _ in range(200):
        layers = fit_rejections(
            WeightPool(rng.normal(size=500)), WeightPool(rng.normal(size=500)), RejectionPlan(5, 0.2)
        )
        outside = WeightPool(fresh)
        for layer in layers:
            log_accept = weight_log_accept(outside.log_w - outside.log_h, layer.log_c)
            outside.log_h = outside.log_h + log_resampling_factor(log_accept, layer.accept_prob)
        log_masses.append(math.log(float(np.exp(outside.log_h).mean())))
        errors.append(log_z_error([*layers]))
    scatter = float(np.std(log_masses))
    assert scatter == pytest.approx(float(np.mean(errors)), rel=0.2)
    assert abs(float(np.mean(log_masses))) < 0.3 * scatter
    assert outlook(fresh, RejectionPlan(5, 0.2)).spread / math.sqrt(500) == pytest.approx(scatter, rel=0.2)


def test_the_ess_of_a_layer_is_that_of_its_law() -> None:
    """1 / Σ_x π²/p_k over atoms with π = g/Σg: of p_0, and of every layer's law; it rises from layer to layer."""
    p = np.full(40, 1 / 40)
    g = np.exp(1.5 * np.random.default_rng(3).normal(size=40))
    pool, law = WeightPool(np.log(g) - np.log(p)), p
    shares = [pool.ess]
    for layer in fit_rejections(WeightPool(pool.log_w.copy()), pool, RejectionPlan(4, 0.2)):
        law = oracle(law, g, math.exp(layer.log_c))
        assert layer.ess == pytest.approx(1.0 / float(((g / g.sum()) ** 2 / law).sum()))
        shares.append(layer.ess)
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(1.0 / float(((g / g.sum()) ** 2 / p).sum()))
    assert outlook(np.log(g) - np.log(p), RejectionPlan(4, 0.2)).ess == pytest.approx(shares[-1])


def test_layers_end_at_the_first_whose_ess_is_enough() -> None:
    """Of the same constants: a plan that ends early begins as the one that does not; one layer at least."""
    log_w = np.random.default_rng(4).normal(size=2000)
    whole = fit_rejections(WeightPool(log_w), WeightPool(log_w), RejectionPlan(12, 0.2))
    enough = whole[6].ess
    assert fit_rejections(WeightPool(log_w), WeightPool(log_w), RejectionPlan(12, 0.2, enough)) == whole[:7]
    assert outlook(log_w, RejectionPlan(12, 0.2, enough)).ess == enough
    assert len(fit_rejections(WeightPool(log_w), WeightPool(log_w), RejectionPlan(12, 0.2, 1e-6))) == 1
    assert fit_rejections(WeightPool(log_w), WeightPool(log_w), RejectionPlan(2, 0.2, 0.9999)) == whole[:2]


def test_a_point_without_mass_loses_what_the_layer_takes() -> None:
    assert log_resampling_factor([0.0, -math.inf], 0.8).tolist() == pytest.approx([math.log(1.2), math.log(0.2)])
    assert log_resampling_factor([-math.inf], 1.0)[0] == -math.inf
