"""The first flow from the pilot's points: its losses, its rounds, and a default run on a density of one's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gsi_node.neural_jko import start
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.frame import round_frame
from gsi_node.neural_jko.pilot import WeightedPoints, pilot
from gsi_node.neural_jko.quality import model_numbers
from gsi_node.neural_jko.rejection import Particles
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.start import farther, first_flow, wide_latent
from gsi_node.neural_jko.targets import OwnTarget, named
from gsi_node.neural_jko.train import Aim, PointBatches, forward_loss, generator_for, judged, new_velocity, reverse_loss
from gsi_node.neural_jko.velocity import Velocity
from tests.neural_jko.own import OWN
from tests.neural_jko.small import LOG_Z, gaussian

SMALL = JKOConfig(
    width=32, gate=0, batch_size=128, likelihood_steps=120, round_steps=40, optimizer="adam", calibration=2048,
    learning_rate=1e-2, first_rejections=6, log_z_error=0.02,
)  # fmt: skip


def test_the_loss_of_likelihood_is_the_mean_surprise_of_its_points() -> None:
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) + 1.0
    identity = Velocity(SMALL.network(3))
    loss = forward_loss(identity, points, SMALL, PointBatches(500, torch.Generator().manual_seed(1)))
    values = [float(loss(3, 0.0).detach()) for _ in range(30)]
    oracle = float(0.5 * points.double().square().sum(1).mean()) + 1.5 * math.log(2 * math.pi)
    assert sum(values) / 30 == pytest.approx(oracle, abs=0.1)


def test_the_tempered_loss_is_between_the_latent_and_the_power_of_the_target() -> None:
    """Of an identity flow: E[−b β log g − (1 − b) log N + log N] over the latent's draws, b = 0.1^{1/2} half way."""
    stack = Stack(CheckedTarget(gaussian(2)))
    data = stack.draw(4000, torch.Generator().manual_seed(0))
    batches = PointBatches(4000, torch.Generator().manual_seed(1))
    loss = reverse_loss(Velocity(SMALL.network(2)), stack, data, Aim(0.7, 0.1, 0.5), SMALL, batches)
    z = data.x.double()
    for progress, b in ((0.0, 0.1), (0.25, 0.1**0.5), (0.5, 1.0), (0.9, 1.0)):
        oracle = float((-b * 0.7 * gaussian(2).log_density(z) + b * data.log_prob).mean())
        assert float(loss(3, progress).detach()) == pytest.approx(oracle, abs=0.15)


def test_rounds_raise_the_share_of_effective_draws_or_are_dropped() -> None:
    target = named("mustache")
    known = pilot(target.log_density, 2, 0)
    stack = Stack(CheckedTarget(target), frame=known.frame)
    few = SMALL.model_copy(update={"likelihood_steps": 40})
    shares = [
        first_flow(stack, known, few.model_copy(update=changes)).ess
        for changes in ({"rounds": 0}, {"wanted_ess": 1.0, "rounds": 1}, {"wanted_ess": 0.01})
    ]
    assert shares[0] < shares[1]
    assert shares[0] == shares[2]  # it was enough


def test_a_round_that_does_harm_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    target = named("mustache")
    known = pilot(target.log_density, 2, 0)
    stack = Stack(CheckedTarget(target), frame=known.frame)
    few = SMALL.model_copy(update={"likelihood_steps": 40, "wanted_ess": 1.0})
    rounds = []

    def harm(velocity: Velocity, stack: Stack, now: start.Round, *rest: object) -> None:
        rounds.append(now.turn)
        with torch.no_grad():
            velocity.linears[-1].bias.add_(0.5)

    monkeypatch.setattr(start, "_refit", harm)
    kept = first_flow(stack, known, few)
    plain = first_flow(stack, known, few.model_copy(update={"rounds": 0}))
    assert rounds == [1]
    assert kept.ess == plain.ess
    assert torch.equal(kept.velocity.linears[-1].bias, plain.velocity.linears[-1].bias)


def test_one_setting_serves_a_density_far_away_with_its_constant(tmp_path: Path) -> None:
    """Two correlated modes of unequal weight, hundreds of units from the origin, scales from 1 to 30."""
    target = OWN["two-modes"](1)
    run = Run(target, SMALL, tmp_path)
    stack = run.complete()
    drawn = stack.sample(4000, generator_for(0, "test", 0), log_g=True)
    numbers = model_numbers(drawn, stack.layers, target)
    assert abs(numbers["log_z"]) < 3 * numbers["log_z_error"] + 0.02
    truth = target.sample(20_000, torch.Generator().manual_seed(0))
    spread = truth.std(0)
    assert bool(((drawn.x.mean(0) - truth.mean(0)).abs() < 0.12 * spread).all())
    assert run.finished()[0]["evaluations"] > 19_000  # the pilot's are counted


def test_a_changed_name_leaves_the_pilot_exactly(tmp_path: Path) -> None:
    target = named("mustache")
    names = ("mustache", "gmm10", "another")
    found = [Run(OwnTarget(target.log_density, 2, name), SMALL, tmp_path / name).ground.pilot for name in names] + [
        Run(target, SMALL, tmp_path / "known").ground.pilot
    ]
    first = found[0]
    assert first is not None
    for other in found[1:]:
        assert other is not None
        assert torch.equal(first.points.x, other.points.x)
        assert torch.equal(first.points.log_weights(), other.points.log_weights())
        assert torch.equal(first.frame.matrix, other.frame.matrix) and torch.equal(first.modes, other.modes)
        assert (first.reference, first.first_power, first.evaluations) == (
            other.reference, other.first_power, other.evaluations,
        )  # fmt: skip


def test_a_claimed_density_above_the_known_constant_is_a_warning() -> None:
    x, log_g = torch.zeros(1000, 2), torch.randn(1000, generator=torch.Generator().manual_seed(0)).double()
    right = Particles(x, log_g + 0.5, log_g)
    assert "warning" not in model_numbers(right, [], named("mustache"))
    wrong = Particles(x, log_g - 0.1, log_g)
    assert "lies above log Z = 0" in model_numbers(wrong, [], named("mustache"))["warning"]


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_the_wide_latent_is_half_normal_and_half_on_shells_that_meet(dim: int) -> None:
    latent = wide_latent(dim)
    scales = latent.factors[:, 0, 0]
    assert float(latent.log_weights.exp().sum()) == pytest.approx(1.0)
    assert float(latent.log_weights.exp()[0]) == pytest.approx(0.5)
    assert (float(scales[0]), float(scales[-1])) == pytest.approx((1.0, start.FARTHEST))
    ratios = scales[1:] / scales[:-1]
    assert bool((ratios <= 1 + dim**-0.5 + 1e-9).all())
    assert float(ratios.max() / ratios.min()) == pytest.approx(1.0)
    z = latent.draw(20_000, torch.Generator().manual_seed(0))
    exact = float((latent.log_weights.exp() * scales.square()).sum())
    assert float(z.double().square().mean()) == pytest.approx(exact, rel=0.1)
    normal = torch.randn(1000, dim, generator=torch.Generator().manual_seed(1))
    log_ratio = -0.5 * normal.double().square().sum(1) - 0.5 * dim * math.log(2 * math.pi) - latent.log_prob(normal)
    assert float(log_ratio.max()) <= math.log(2) + 1e-6  # no draw of the flow counts less than half


def test_wide_draws_are_taken_where_they_show_what_the_flow_misses() -> None:
    """Of a flow half as wide as g: E_q[g / q] = ∫ g within five standard errors. Of g itself: its own."""
    target = gaussian(4)
    for scale, misses in ((0.3, True), (0.6, False)):
        stack = Stack(CheckedTarget(target), frame=round_frame(4, 1.0, scale))
        made = Flow(new_velocity(stack, SMALL).eval(), 8, 0.0)
        own = judged([made], stack, SMALL.model_copy(update={"calibration": 20_000}), 1)
        seen = farther(made, own, stack, SMALL, 1)
        assert (seen is not own) == misses
        if misses:
            relative = torch.softmax(seen.log_weights(), 0) * len(seen)
            assert seen.log_z == pytest.approx(LOG_Z, abs=5 * float(relative.std()) / len(seen) ** 0.5)
            assert seen.share > 3 * own.share


def test_a_round_fits_what_farther_draws_show(monkeypatch: pytest.MonkeyPatch) -> None:
    target = named("mustache")
    known = pilot(target.log_density, 2, 0)
    stack = Stack(CheckedTarget(target), frame=known.frame)
    fitted = []

    def moved(made: Flow, own: WeightedPoints, *rest: object) -> WeightedPoints:
        return WeightedPoints(own.x + 100.0, own.log_g, own.log_q)

    def note(velocity: Velocity, stack: Stack, now: start.Round, *rest: object) -> None:
        fitted.append(float((now.points > 50.0).all(1).double().mean()))

    monkeypatch.setattr(start, "farther", moved)
    monkeypatch.setattr(start, "_refit", note)
    first_flow(stack, known, SMALL.model_copy(update={"likelihood_steps": 5, "wanted_ess": 1.0, "rounds": 1}))
    assert fitted == [pytest.approx(start.FRESH / (start.FRESH + start.KEPT))]
