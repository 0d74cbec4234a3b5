"""A flow on a mixture as the latent, in a frame: it can be inverted, and its density is that of its draws."""

from __future__ import annotations

import math

import pytest
import torch

from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import Flow, solve
from gsi_node.neural_jko.frame import AffineFrame
from gsi_node.neural_jko.latent import GaussianMixture
from gsi_node.neural_jko.rejection import Rejection
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.train import Aim, PointBatches, fit_flow, generator_for, reverse_loss
from gsi_node.neural_jko.velocity import Velocity
from tests.neural_jko.small import two_modes
from tests.neural_jko.test_flow import velocity

FRAME = AffineFrame(torch.tensor([1.0, -2.0]).double(), torch.tensor([[1.5, 0.4], [-0.3, 0.8]]).double())
LATENT = GaussianMixture(
    torch.tensor([0.3, 0.7]).double().log(),
    torch.tensor([[-2.0, 0.5], [1.5, -0.5]]).double(),
    torch.tensor([[[0.5, 0.0], [0.2, 0.4]], [[0.3, 0.0], [-0.2, 0.6]]]).double(),
)
SMALL = JKOConfig(width=32, gate=8, steps=80, optimizer="adam", learning_rate=1e-2, particles=2048, calibration=2048)


def stack(*more: Rejection) -> Stack:
    flow = Flow(velocity(2, 2, scale=0.6, gate=4), 8)
    return Stack(CheckedTarget(two_modes(2)), [flow, *more], frame=FRAME, latent=LATENT)


@torch.no_grad()
def test_the_density_is_the_latent_s_over_the_jacobian_of_central_differences() -> None:
    net, h = velocity(2, 2, scale=0.6, gate=4).double(), 1e-5
    z = LATENT.draw(20, torch.Generator().manual_seed(0)).double()
    forward = solve(net, z, steps=32)
    assert torch.allclose(solve(net, forward.x, steps=32, backward=True).x, z, atol=1e-6)
    ends = [[solve(net, z + sign * step, steps=32).x for sign in (1, -1)] for step in h * torch.eye(2)]
    columns = [(up - down) / (2 * h) for up, down in ends]
    oracle = LATENT.log_prob(z) - torch.linalg.slogdet(torch.stack(columns, 2))[1] - FRAME.log_volume
    made = Stack(CheckedTarget(two_modes(2)), [Flow(net.float(), 32)], frame=FRAME, latent=LATENT)
    assert torch.allclose(made.log_prob(FRAME.to_x(forward.x)), oracle, atol=2e-4)


@pytest.mark.parametrize("layers", [(), (Rejection(0.3, 0.6),)], ids=["flow", "flow and rejection"])
def test_what_is_drawn_has_the_density_that_is_claimed(layers: tuple[Rejection, ...]) -> None:
    made = stack(*layers)
    drawn = made.sample(4000, torch.Generator().manual_seed(1))
    assert torch.allclose(made.log_prob(drawn.x), drawn.log_prob, atol=1e-3)
    axis = -8.0 + 0.1 * (torch.arange(180, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(axis, axis - 3.0)
    mass = made.log_prob(grid).exp() * 0.1**2
    if not layers:  # no E α is estimated for the rejection here
        assert float(mass.sum()) == pytest.approx(1.0, abs=1e-3)
    left = float(mass[grid[:, 0] < 0].sum() / mass.sum())
    assert 0.1 < left < 0.9
    assert float((drawn.x[:, 0] < 0).double().mean()) == pytest.approx(left, abs=4 * math.sqrt(0.25 / 4000))


def test_the_tempered_loss_starts_from_the_mixture_itself() -> None:
    """Of an identity flow with b = 0.25: E[−b β log g − (1 − b) log latent + log latent], over the latent's draws."""
    base = Stack(CheckedTarget(two_modes(2)), frame=FRAME, latent=LATENT)
    data = base.draw(4000, torch.Generator().manual_seed(0))
    batches = PointBatches(40_000, torch.Generator().manual_seed(1))
    loss = reverse_loss(Velocity(SMALL.network(2)), base, data, Aim(0.7, 0.25, 1.0), SMALL, batches)
    oracle = float((-0.25 * 0.7 * base.log_g(data.x) + 0.25 * LATENT.log_prob(data.x)).mean())
    spread = float((0.25 * data.log_prob).std())
    assert float(loss(3, 0.0).detach()) == pytest.approx(oracle, abs=6 * spread / math.sqrt(4000))


def test_a_trained_flow_on_it_comes_nearer_to_the_target() -> None:
    """E log w, which is −KL here, on fresh draws before and after."""
    base = Stack(CheckedTarget(two_modes(2)), frame=FRAME, latent=LATENT)
    made = fit_flow(base, SMALL, Aim())
    higher = Stack(base.evaluate, [made], frame=FRAME, latent=LATENT)
    before, after = (
        float(one.sample(4000, generator_for(0, "test", 0), log_g=True).log_weights().mean()) for one in (base, higher)
    )
    assert before < -3.0
    assert -0.5 < after < 0.02
