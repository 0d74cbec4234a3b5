"""What is said of samples, against closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.frame import round_frame
from gsi_node.neural_jko.known import Funnel, eight_modes
from gsi_node.neural_jko.quality import coverage_numbers, measured, model_numbers, truth_numbers
from gsi_node.neural_jko.rejection import Rejection
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import OwnTarget
from tests.neural_jko.small import LOG_Z, gaussian


@dataclass(frozen=True)
class KnownGaussian:
    """g = e^3.7 N(1, 0.6² I)."""

    dim: int = 2
    name: str = "known gaussian"
    log_z: float = LOG_Z

    def log_density(self, x: Tensor) -> Tensor:
        return gaussian(self.dim).log_density(x)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return 1.0 + 0.6 * torch.randn(n, self.dim, generator=generator, dtype=torch.float64)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_forward_kl_is_that_of_the_truth_from_the_model() -> None:
    """p = N(m, s² I): KL(q ‖ p) = dim (log(s/.6) + (.36 + (1 − m)²) / 2s² − ½), within four of its errors."""
    target, m, s = KnownGaussian(), 0.5, 1.1
    stack = Stack(CheckedTarget(target), frame=round_frame(2, m, s))
    numbers = coverage_numbers(stack, target, 50_000, stream())
    exact = 2 * (math.log(s / 0.6) + (0.36 + (1 - m) ** 2) / (2 * s**2) - 0.5)
    assert numbers["forward_kl"] == pytest.approx(exact, abs=4 * numbers["forward_kl_error"])
    assert 0 < numbers["forward_kl_error"] < 0.01
    layered = Stack(CheckedTarget(target), [Rejection(60.0, 1.0, error=0.25)], frame=round_frame(2, m, s))
    assert coverage_numbers(layered, target, 2000, stream())["forward_kl_error"] == pytest.approx(0.25, abs=0.01)


def test_at_the_truth_both_kls_are_zero() -> None:
    target = KnownGaussian()
    numbers = measured(Stack(CheckedTarget(target), frame=round_frame(2, 1.0, 0.6)), target, 2000, seed=0)
    assert (numbers["kl"], numbers["forward_kl"]) == (pytest.approx(0.0, abs=1e-6), pytest.approx(0.0, abs=1e-6))
    assert numbers["samples"] == 2000


def test_the_reverse_kl_needs_no_log_z() -> None:
    target = OwnTarget(lambda x: gaussian(2).log_density(x) + 100.0, 2)
    stack = Stack(CheckedTarget(target), frame=round_frame(2, 0.9, 0.5))
    numbers = model_numbers(stack.sample(50_000, stream(), log_g=True), [], target)
    exact = 2 * (math.log(0.6 / 0.5) + (0.25 + 0.01) / 0.72 - 0.5)  # KL(p ‖ q), p = N(.9, .5² I)
    assert numbers["kl"] == pytest.approx(exact, abs=4 * numbers["kl_error"])
    assert coverage_numbers(stack, target, 10, stream()) == {}


def test_the_tail_of_the_first_coordinate() -> None:
    """v ~ N(0, 9): 3 z, Φ(z) = .999; a mouth that is cut at 6 is seen."""
    x = Funnel().sample(5_000, stream())
    x[:, 0].clamp_(max=6.0)
    numbers = truth_numbers(x, Funnel(), stream(1))
    assert numbers["x1_tail"] == 6.0
    assert numbers["x1_tail_truth"] == pytest.approx(3 * 3.0902, rel=0.25)
    assert set(truth_numbers(eight_modes().sample(50, stream()), eight_modes(), stream())) >= {"mode_weights", "rho"}


def test_a_kl_above_what_the_aim_allows_is_said_whatever_the_target() -> None:
    """p = N(m, .6² I), g ∝ N(1, .6² I): KL = (1 − m)² / .36 in two dimensions: .027 and .011."""
    target = OwnTarget(gaussian(2).log_density, 2)
    said = []
    for mean in (0.9, 0.9366):
        stack = Stack(CheckedTarget(target), frame=round_frame(2, mean, 0.6))
        numbers = model_numbers(stack.sample(50_000, stream(), log_g=True), [], target)
        assert numbers["kl"] == pytest.approx((1 - mean) ** 2 / 0.36, abs=4 * numbers["kl_error"])
        said.append(numbers.get("warning", ""))
    assert said[0].startswith("KL(p ‖ target) = log E w − E log w = 0.02")
    assert said[1] == ""
