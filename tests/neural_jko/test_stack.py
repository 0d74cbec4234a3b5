"""The stack: its density integrates to one, evaluates what it samples, and comes back from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gsi_node.errors import ConfigError
from gsi_node.neural_jko import stack as stack_module
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.frame import round_frame
from gsi_node.neural_jko.rejection import Rejection
from gsi_node.neural_jko.saved import MANIFEST, load, save
from gsi_node.neural_jko.stack import Stack
from tests.neural_jko.small import gaussian, integral, trained, two_modes


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("dim", "points"), [(1, 4000), (2, 160)])
def test_the_density_integrates_to_one(dim: int, points: int) -> None:
    """To 1 % : each layer's E α is estimated on 4096 draws, with a standard error of about 0.004."""
    assert integral(trained("two", dim), -7.0, 7.0, points) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("dim", [1, 2])
def test_sampled_and_evaluated_log_densities_agree(dim: int) -> None:
    stack = trained("two", dim)
    particles = stack.sample(500, stream())
    difference = (stack.log_prob(particles.x) - particles.log_prob).abs()
    assert float(difference.mean()) < 1e-4
    assert float(difference.max()) < 5e-3


def test_samples_follow_the_claimed_density() -> None:
    """Histogram against ∫ p over its cells, χ² with 39 degrees of freedom at 10⁻³ (the draws are fixed)."""
    stack, n, cells = trained("two", 1), 20_000, 40
    x = stack.sample(n, stream(1)).x[:, 0].double()
    fine = torch.linspace(-4.0, 4.0, 40 * cells + 1, dtype=torch.float64)
    middles = 0.5 * (fine[1:] + fine[:-1])
    expected = stack.log_prob(middles[:, None]).exp().reshape(cells, -1).sum(1) * (8.0 / (40 * cells)) * n
    found = torch.histc(x, cells, -4.0, 4.0)
    kept = expected > 5
    assert int(kept.sum()) > 25
    assert float(((found - expected).square() / expected)[kept].sum()) < 72.1


def dropped_log_det(self: Flow, x: Tensor, backward: bool = False) -> tuple[Tensor, Tensor]:
    ends, log_det = flow_call(self, x, backward)
    return ends, torch.zeros_like(log_det)


def doubled_accept(self: Rejection, particles: Any) -> Any:
    updated, log_accept = updated_call(self, particles)
    return replace(updated, log_prob=particles.log_prob + (updated.log_prob - particles.log_prob) * 2), log_accept


flow_call, updated_call = Flow.__call__, Rejection.updated


@pytest.mark.parametrize(
    ("kind", "name", "mutant"), [(Flow, "__call__", dropped_log_det), (Rejection, "updated", doubled_accept)]
)
def test_quadrature_kills_mutants(kind: type, name: str, mutant: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(kind, name, mutant)
    with pytest.raises(AssertionError):
        test_the_density_integrates_to_one(1, 4000)


def test_the_round_trip_kills_a_flow_that_is_inverted_with_the_wrong_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    def mutant(self: Flow, x: Tensor, backward: bool = False) -> tuple[Tensor, Tensor]:
        ends, log_det = flow_call(self, x, backward)
        return ends, -log_det if backward else log_det

    monkeypatch.setattr(Flow, "__call__", mutant)
    with pytest.raises(AssertionError):
        test_sampled_and_evaluated_log_densities_agree(1)


def test_the_latent_is_where_the_settings_put_it() -> None:
    """A published implementation evaluated N(0, ·) while it sampled around another mean."""
    mean = torch.tensor([1.5, -0.5])
    stack = Stack(CheckedTarget(two_modes(2)), frame=round_frame(2, mean.tolist(), 0.7))
    particles = stack.sample(4000, stream())
    assert particles.x.mean(0).tolist() == pytest.approx(mean.tolist(), abs=0.05)
    oracle = torch.distributions.Normal(mean, 0.7).log_prob(particles.x).sum(1)
    assert particles.log_prob.tolist() == pytest.approx(oracle.tolist(), abs=1e-4)
    assert integral(stack, -6.0, 6.0, 150) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ConfigError, match="one number or 2, got 3"):
        round_frame(2, [0.0, 1.0, 2.0])


def test_no_particle_is_used_twice_even_when_the_surplus_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = trained("two", 2)
    for surplus in (stack_module._surplus, lambda n, layer: 0):
        monkeypatch.setattr(stack_module, "_surplus", surplus)
        particles = stack.sample(3000, stream(2))
        assert len(particles) == 3000
        assert len(torch.unique(particles.x, dim=0)) == 3000
        share = float((particles.x[:, 0] > 0).double().mean())
        assert share == pytest.approx(0.7, abs=0.1)


def test_a_saved_stack_is_the_same_model(tmp_path: Path) -> None:
    stack = trained("two", 1)
    save(stack, tmp_path)
    again = load(tmp_path, two_modes(1))
    first, second = (s.sample(200, stream(3)) for s in (stack, again))
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.log_prob, second.log_prob)
    assert sorted({path.suffix for path in tmp_path.iterdir()}) == [".json", ".safetensors"]


def test_broken_files_are_named(tmp_path: Path) -> None:
    save(trained("two", 1), tmp_path)
    with pytest.raises(ConfigError, match="gaussian1"):
        load(tmp_path, gaussian(1))
    flow = next(tmp_path.glob("*.safetensors"))
    flow.write_bytes(flow.read_bytes()[:100])
    with pytest.raises(ConfigError, match=flow.name):
        load(tmp_path, two_modes(1))
    about = json.loads((tmp_path / MANIFEST).read_text("utf-8"))
    (tmp_path / MANIFEST).write_text(json.dumps({**about, "format": 99}), "utf-8")
    with pytest.raises(ConfigError, match="99"):
        load(tmp_path, two_modes(1))
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "nowhere", two_modes(1))
