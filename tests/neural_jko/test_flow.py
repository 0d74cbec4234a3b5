"""The flow: exact divergence against autograd, fixed probes, the solvers against each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gsi_node.errors import NotNormalisable
from gsi_node.neural_jko.check import refuse_not_finite
from gsi_node.neural_jko.flow import Flow, OdeSolver, settled, solve
from gsi_node.neural_jko.latent import NormalLatent
from gsi_node.neural_jko.velocity import Activation, Velocity, VelocityShape


def velocity(
    dim: int, depth: int, scale: float = 0.3, activation: Activation = "tanh", gate: int = 0, own: int = 0
) -> Velocity:
    """A network whose last layers are no longer zero."""
    generator = torch.Generator().manual_seed(dim * 10 + depth)
    net = Velocity(VelocityShape(dim, 12, depth, activation, gate, own=own), generator)
    for last in (net.linears[-1], *net.gate_linears[-1:]):
        torch.nn.init.normal_(last.weight, 0.0, scale, generator=generator)
    if own:
        torch.nn.init.normal_(net.own["height"], 0.0, scale, generator=generator)
    return net


def points(n: int, dim: int) -> Tensor:
    return torch.randn((n, dim), generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize(
    ("activation", "gate", "own"), [("tanh", 0, 0), ("silu", 0, 0), ("mixed", 0, 0), ("mixed", 5, 0), ("mixed", 5, 3)]
)
def test_the_exact_divergence_is_the_trace_of_the_jacobian(
    dim: int, depth: int, activation: Activation, gate: int, own: int
) -> None:
    net, x = velocity(dim, depth, activation=activation, gate=gate, own=own).double(), points(7, dim).double()
    v, divergence = net.with_divergence(x, 0.4)
    assert torch.allclose(v, net(x, 0.4))
    for i, point in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(lambda z: net(z[None], 0.4)[0], point)
        assert float(divergence[i].detach()) == pytest.approx(float(jacobian.trace()), abs=1e-12)


def test_a_new_flow_is_the_identity() -> None:
    x = points(5, 3)
    ends, log_det = Flow(Velocity(VelocityShape(3, 8, 2, "mixed", 4, own=2)), 4)(x)
    assert torch.equal(ends, x)
    assert log_det.tolist() == [0.0] * 5


def test_a_linear_flow_has_the_closed_form() -> None:
    """v = A x: z(1) = e^A x and ℓ = tr A; a one-layer tanh network at tiny scale is linear to O(x³)."""
    net = velocity(2, 1).double()
    first, last = net.linears[0].weight, net.linears[1].weight
    with torch.no_grad():
        net.linears[0].bias.zero_()
        net.linears[1].bias.zero_()
        first[:, 2] = 0.0
        a = last @ first[:, :2]
        x = 1e-5 * points(3, 2).double()
        out = solve(net, x, steps=16)
    assert torch.allclose(out.x, x @ torch.linalg.matrix_exp(a).T, rtol=1e-5)
    assert out.log_det.tolist() == pytest.approx([float(a.trace())] * 3, rel=1e-6)


@torch.no_grad()
def test_backward_undoes_forward_with_the_same_integrals() -> None:
    net, x = velocity(2, 2), points(50, 2)
    there = solve(net, x, steps=12)
    back = solve(net, there.x, steps=12, backward=True)
    assert torch.allclose(back.x, x, atol=1e-5)
    assert torch.allclose(back.log_det, there.log_det, atol=1e-5)
    assert torch.allclose(back.energy, there.energy, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_dopri5_and_rk4_agree() -> None:
    net, x = velocity(2, 2), points(20, 2)
    for backward in (False, True):
        ours = solve(net, x, steps=20, backward=backward)
        theirs = solve(net, x, steps=1, solver="dopri5", backward=backward)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a.double(), b.double(), atol=2e-4)


@torch.no_grad()
def test_probes_are_fixed_over_a_solve_and_unbiased() -> None:
    """With fixed probes ℓ is an integral of a smooth function: twice the steps change nothing. Redrawn ones would."""
    net, x = velocity(3, 2), points(4, 3)
    signs = torch.randint(0, 2, (4, 2, 3), generator=torch.Generator().manual_seed(0))
    probes = (2 * signs - 1).float()
    coarse, fine = (solve(net, x, steps=steps, probes=probes).log_det for steps in (8, 16))
    assert torch.allclose(coarse, fine, atol=1e-5)
    assert float((coarse - solve(net, x, steps=8).log_det).abs().max()) > 1e-3
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)[None].expand(4, 8, 3)
    assert torch.allclose(solve(net, x, steps=8, probes=every).log_det, solve(net, x, steps=8).log_det, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("solver", "order"), [("midpoint", 2), ("rk3", 3), ("rk4", 4)])
def test_a_solver_has_the_order_that_its_name_says(solver: OdeSolver, order: int) -> None:
    """Halving the step divides the error by 2^order, to within a third of an order."""
    net, x = velocity(2, 2, scale=2.0, gate=4).double(), points(20, 2).double()
    truth = solve(net, x, steps=512).x
    errors = [float((solve(net, x, steps=steps, solver=solver).x - truth).norm()) for steps in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.34)


def test_steps_are_doubled_until_the_density_settles_or_it_is_refused() -> None:
    net, x = velocity(2, 2, scale=2.0), points(200, 2)
    rough, fine = (
        settled(net, x, NormalLatent(2), steps=1, tolerance=1.0),
        settled(net, x, NormalLatent(2), steps=1, tolerance=1e-3),
    )
    assert rough.steps < fine.steps <= 64
    ends, log_det = fine(x)
    _, finer = Flow(net, 8 * fine.steps)(ends, backward=True)
    assert float((log_det - finer).abs().quantile(0.99)) < 2e-3
    with pytest.raises(NotNormalisable, match="still moves by"):
        settled(net, x, NormalLatent(2), steps=256, tolerance=1e-12)


def test_leaving_the_finite_numbers_is_an_error() -> None:
    with pytest.raises(NotNormalisable, match="try a smaller tau"):
        refuse_not_finite(torch.tensor([0.0, math.nan]), "a loss")
    net = velocity(1, 1)
    with torch.no_grad():
        net.linears[1].bias.fill_(math.inf)
    with pytest.raises(NotNormalisable, match="flow"):
        Flow(net, 2)(points(3, 1))
