"""The first flow, from the pilot's points: by maximum likelihood, then refitted on its own reweighted draws.

No JKO step: where the pilot is right the flow is, and where a pilot of a few thousand points is not, rounds mend it.
A flow's own draws do not show what it misses. Its map of latents farther out does.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor

from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.latent import GaussianMixture, latent_log_prob
from gsi_node.neural_jko.pilot import Pilot, WeightedPoints
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.train import (
    Aim,
    Effort,
    OnProgress,
    PointBatches,
    forward_loss,
    generator_for,
    judged,
    new_velocity,
    optimise,
    reverse_loss,
    settled_flow,
    silent,
)
from gsi_node.neural_jko.velocity import Velocity

FRESH, KEPT = 12_000, 4_000  # points of a round: resampled draws of the flow, and of those it was fitted on before

FARTHEST = 4.0  # standard deviations of the widest latent
MISSED = 1e-3  # of g's mass, at most, where g / p is so high that draws of p would not show it


def first_flow(stack: Stack, pilot: Pilot, config: JKOConfig, told: OnProgress = silent) -> Flow:
    """The flow of least −E log p over the pilot's points of g^b, b its power for config.proposal_ess.

    While its ESS (weights truncated) is below config.wanted_ess, up to config.rounds rounds refit it on what `farther`
    returns. A round that does not raise the ESS is dropped, and the last.
    """
    stream = generator_for(config.seed, "points", 0)
    power = pilot.points.power_for(config.proposal_ess)
    points = stack.frame.to_z(pilot.points.resampled(config.likelihood_points, stream, power)).float()
    velocity = new_velocity(stack, config)
    stream = generator_for(config.seed, "flow", 0, stack.device)
    loss = forward_loss(velocity, points, config, PointBatches(config.batch_size, stream))
    optimise(velocity, loss, config, Effort("flow 0", config.likelihood_steps, config.learning_rate, stream), told)
    made = settled_flow(velocity, stack, config)
    best = judged([made], stack, config, 0)
    for turn in range(1, config.rounds + 1):
        if config.wanted_ess is not None and best.share >= config.wanted_ess:
            break
        seen = farther(made, best, stack, config, turn)
        power = seen.power_for(config.proposal_ess)
        fresh = seen.resampled(FRESH, generator_for(config.seed, f"points {turn}", 0), power)
        points = torch.cat([fresh.to(points), points[:KEPT]])
        velocity = copy.deepcopy(made.velocity).train().requires_grad_()
        _refit(velocity, stack, Round(turn, best, points, power), config, told)
        refitted = settled_flow(velocity, stack, config)
        drawn = judged([refitted], stack, config, turn)
        if drawn.share <= best.share:
            break
        made, best = refitted, drawn
    return Flow(made.velocity, made.steps, best.share)


@torch.no_grad()
def farther(made: Flow, own: WeightedPoints, stack: Stack, config: JKOConfig, turn: int) -> WeightedPoints:
    """own, a flow's weighted draws; or as many and as many again on `wide_latent`, weights truncated, where these show
    that more than MISSED of g's mass lies where g / p > √n times its mean, n = len(own)."""
    latent = wide_latent(stack.dim).on(stack.device)
    z = latent.draw(2 * len(own), generator_for(config.seed, f"wide {turn}", 0, stack.device))
    x, log_det = made(z)
    log_g, log_p = stack.log_g(x).cpu(), (latent_log_prob(z) - log_det).cpu()
    wide = WeightedPoints(x.double().cpu(), log_g, (latent.log_prob(z) - log_det).cpu())
    high = log_g - log_p > wide.log_z + 0.5 * math.log(len(own))
    missed = float(torch.softmax(wide.log_weights(), 0)[high].sum())
    return wide.truncated() if missed > MISSED else own


def wide_latent(dim: int) -> GaussianMixture:
    """½ N(0, I) + ½ the mean of N(0, s² I), s in even ratios up to FARTHEST.

    A ratio is at most 1 + dim^{−½}: one unit of radius at √dim, so that neighbouring shells meet.
    """
    levels = math.ceil(math.log(FARTHEST) / math.log1p(dim**-0.5))
    scales = FARTHEST ** (torch.arange(levels + 1).double() / levels)
    weights = torch.tensor([0.5] + levels * [0.5 / levels]).double()
    factors = scales[:, None, None] * torch.eye(dim).double()
    return GaussianMixture(weights.log(), torch.zeros(levels + 1, dim).double(), factors)


class Round(NamedTuple):
    """drawn: weighted draws of the flow as it was. points: of g^power, to fit."""

    turn: int
    drawn: WeightedPoints
    points: Tensor
    power: float


def _refit(velocity: Velocity, stack: Stack, now: Round, config: JKOConfig, told: OnProgress) -> None:
    """Half maximum likelihood, half reverse KL to g^power; the first alone where the flow has mass outside g's."""
    stream = generator_for(config.seed, f"round {now.turn}", 0, stack.device)
    batches = PointBatches(max(1, config.batch_size // 2), stream)
    forward = forward_loss(velocity, now.points, config, batches)
    effort = Effort(f"flow 0, round {now.turn}", config.round_steps, config.round_learning_rate, stream)
    if not bool(torch.isfinite(now.drawn.log_g).all()):
        optimise(velocity, forward, config, effort, told)
        return
    data = stack.draw(config.particles, generator_for(config.seed, f"latent {now.turn}", 0, stack.device))
    reverse = reverse_loss(velocity, stack, data, Aim(now.power), config, batches)

    def both(steps: int, progress: float) -> Tensor:
        return 0.5 * (forward(steps, progress) + reverse(steps, progress))

    optimise(velocity, both, config, effort, told)
