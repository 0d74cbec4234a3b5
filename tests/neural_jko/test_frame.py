"""Frames: there and back, volumes against autograd, and a stack whose density in x is its frame's."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal

from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.frame import AffineFrame
from gsi_node.neural_jko.stack import Stack
from tests.neural_jko.small import gaussian

FRAME = AffineFrame(
    torch.tensor([1e6, -3.0], dtype=torch.float64), torch.tensor([[2.0, 0.5], [0.0, 30.0]], dtype=torch.float64)
)


def test_there_and_back_and_the_volume_between() -> None:
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(FRAME.to_z(FRAME.to_x(z)), z, atol=1e-8)
    jacobian = torch.autograd.functional.jacobian(lambda p: FRAME.to_x(p[None])[0], z[0])
    assert FRAME.log_volume == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]))


def test_a_stack_without_layers_is_a_gaussian_in_its_frame() -> None:
    stack = Stack(CheckedTarget(gaussian(2)), frame=FRAME)
    drawn = stack.sample(200, torch.Generator().manual_seed(0), log_g=True)
    oracle = MultivariateNormal(FRAME.centre, FRAME.matrix @ FRAME.matrix.t()).log_prob(drawn.x)
    assert drawn.log_prob.tolist() == pytest.approx(oracle.tolist(), abs=1e-5)
    assert stack.log_prob(drawn.x).tolist() == pytest.approx(oracle.tolist(), abs=1e-4)
    assert drawn.log_g is not None
    assert drawn.log_g.tolist() == pytest.approx(gaussian(2).log_density(drawn.x).tolist())
