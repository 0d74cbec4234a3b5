"""Training: one stage at a time, each fitted on draws of the stack below that were made for it alone.

Every stage is a function of (stack, config, index of the new layer): its random stream is keyed by the seed and the
index, so a run that was killed goes on from its files to the very stack it would have been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gsi_node.core.rng import Stream
from gsi_node.errors import ConfigError
from gsi_node.needs import install_extra
from gsi_node.neural_jko import flow
from gsi_node.neural_jko.check import refuse_not_finite
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import Flow, settled
from gsi_node.neural_jko.latent import latent_log_prob
from gsi_node.neural_jko.pilot.points import WeightedPoints
from gsi_node.neural_jko.rejection import (
    Particles,
    Rejection,
    RejectionPlan,
    WeightPool,
    fit_rejections,
    log_z_error,
    outlook,
)
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.velocity import Velocity
from gsi_node.types import Array, Key

OnProgress = Callable[[str, int, int, float], None]  # what is being done, steps done, steps in all, loss
Loss = Callable[[int, float], Tensor]  # of ODE steps and the share of training done, over a batch of its own
LEAST = 1024  # draws that E α is averaged over, at least
SETTLING = 1024  # draws on which a flow's steps are doubled until its density settles


def silent(what: str, done: int, total: int, loss: float) -> None:
    pass


def generator_for(seed: int, phase: str, index: int, device: str | torch.device = "cpu") -> torch.Generator:
    """The random stream of one stage of one layer."""
    number = Stream(Key(seed, "neural-jko", index, phase)).uniform()
    return torch.Generator(device).manual_seed(int(number * 2**53))


def flows_in(stack: Stack) -> int:
    return sum(isinstance(layer, Flow) for layer in stack.layers)


def new_velocity(stack: Stack, config: JKOConfig) -> Velocity:
    start = generator_for(config.seed, "network", len(stack.layers))
    return Velocity(config.network(stack.dim), start).to(stack.device)


class Aim(NamedTuple):
    """What a flow is drawn to: g^power, by way of latent^{1−b} g^{b·power}, b from `first` geometrically to 1.

    share: of the training in which b rises; 0: b = 1 throughout.
    """

    power: float = 1.0
    first: float = 1.0
    share: float = 0.0

    def at(self, progress: float) -> float:
        return float(self.first ** max(0.0, 1.0 - progress / self.share)) if self.share else 1.0


def fit_flow(stack: Stack, config: JKOConfig, aim: Aim, told: OnProgress = silent) -> Flow:
    """The next flow, by reverse KL over draws of the stack: a JKO step. Its ESS is looked at where the plan asks.

    On a pilot's latent alone every step has draws of its own: in many dimensions a network learns config.particles of
    them by heart.
    """
    index = len(stack.layers)
    stream = generator_for(config.seed, "flow", index, stack.device)
    data = None if config.coordinates == "pilot" and not index else stack.draw(config.particles, stream)
    velocity = new_velocity(stack, config)
    loss = reverse_loss(velocity, stack, data, aim, config, PointBatches(config.batch_size, stream))
    effort = Effort(f"flow {index}", config.steps_in(stack.dim, index), config.learning_rate, stream)
    optimise(velocity, loss, config, effort, told)
    made = settled_flow(velocity, stack, config)
    if config.wanted_ess is None:
        return made
    drawn = judged([made], stack, config, 0)
    gain = None if data is not None else drawn.mean_log_weight - judged([], stack, config, 1).mean_log_weight
    return Flow(velocity, made.steps, drawn.share, gain)


class PointBatches(NamedTuple):
    """Points a step, drawn with repetition by the stream."""

    size: int
    stream: torch.Generator

    def rows(self, n: int) -> Tensor:
        return torch.randint(n, (min(self.size, n),), generator=self.stream, device=self.stream.device)


def reverse_loss(
    velocity: Velocity, stack: Stack, data: Particles | None, aim: Aim, config: JKOConfig, batches: PointBatches
) -> Loss:
    """E[−β log g(z(1)) + ω/τ − ℓ + log p(z(0))] over draws `data` of p: KL(· ‖ g^β) + W₂²/τ up to a constant.

    data: None: fresh draws of the stack in every step.

    β = aim.power; while b < 1, b β log g + (1 − b) log of the latent stands for β log g.
    """
    tau, dim = config.tau_of(flows_in(stack)), stack.dim

    def loss(steps: int, progress: float) -> Tensor:
        drawn = stack.draw(batches.size, batches.stream) if data is None else data[batches.rows(len(data))]
        x, log_prob = drawn.x, drawn.log_prob
        probes = None
        if config.divergence == "probes":
            signs = torch.randint(0, 2, (len(x), config.probes, dim), generator=batches.stream, device=x.device)
            probes = (2 * signs - 1).to(x)
        z, log_det, energy = flow.solve(velocity, x, steps=steps, probes=probes, solver=config.solver)
        b = aim.at(progress)
        drawn_to = b * aim.power * stack.log_g(z)
        if b < 1.0:
            drawn_to = drawn_to + (1.0 - b) * stack.latent.log_prob(z)
        return (-drawn_to + energy.double() / tau - log_det + log_prob).mean()

    return loss


def forward_loss(velocity: Velocity, points: Tensor, config: JKOConfig, batches: PointBatches) -> Loss:
    """−E log p_1 + E ω/τ over points of the target (n, dim), p_1 the flow's density over the latent N(0, I)."""

    def loss(steps: int, progress: float) -> Tensor:
        x = points[batches.rows(len(points))]
        z, log_det, energy = flow.solve(velocity, x, steps=steps, backward=True, solver=config.solver)
        return (log_det - latent_log_prob(z) + energy.double() / config.tau).mean()

    return loss


class Effort(NamedTuple):
    """How long a network is fitted: its rate falls geometrically from `rate` to the config's final_learning_rate."""

    what: str
    steps: int
    rate: float
    stream: torch.Generator


def optimise(velocity: Velocity, loss: Loss, config: JKOConfig, effort: Effort, told: OnProgress) -> None:
    """Fit the network. Raises NotNormalisable where the loss leaves the finite numbers."""
    optimizer = _optimizer(velocity, config, effort.rate)
    decay = (config.final_learning_rate / effort.rate) ** (1.0 / effort.steps)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)
    for step in range(effort.steps):
        more = torch.randint(config.step_jitter + 1, (1,), generator=effort.stream, device=effort.stream.device)
        value = loss(config.train_ode_steps + int(more), step / effort.steps)
        refuse_not_finite(value, f"the loss of {effort.what} at step {step}")
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(velocity.parameters(), config.clip_norm)
        optimizer.step()
        schedule.step()
        told(effort.what, step + 1, effort.steps, float(value.detach()))


def _optimizer(velocity: Velocity, config: JKOConfig, rate: float) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(velocity.parameters(), lr=rate)
    try:
        from pytorch_optimizer.optimizer.soap import SOAP
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"optimizer soap needs {error.name}: {install_extra('jko')}, or take optimizer=adam"
        ) from error
    return SOAP(velocity.parameters(), lr=rate, weight_decay=0.0)


def judged(more: Sequence[Flow], stack: Stack, config: JKOConfig, turn: int) -> WeightedPoints:
    """Fresh draws z of the stack with more flows, with log g and log p there, weights truncated; on the CPU."""
    stream = generator_for(config.seed, f"judge {turn}", len(stack.layers), stack.device)
    higher = Stack(stack.evaluate, [*stack.layers, *more], frame=stack.frame, latent=stack.latent, device=stack.device)
    drawn = higher.draw(config.calibration, stream, log_g=True)
    assert drawn.log_g is not None
    return WeightedPoints(drawn.x.double().cpu(), drawn.log_g.cpu(), drawn.log_prob.cpu()).truncated()


def settled_flow(velocity: Velocity, stack: Stack, config: JKOConfig) -> Flow:
    stream = generator_for(config.seed, "settle", len(stack.layers), stack.device)
    x = stack.draw(SETTLING, stream).x
    return settled(velocity, x, stack.latent, steps=config.ode_steps, tolerance=config.ode_tolerance)


def reject(stack: Stack, config: JKOConfig, layers: int) -> list[Rejection]:
    """At most so many rejection layers on the stack's last flow, none once their ESS is config.enough_ess.

    c is of one pool of its draws, E α of another, as large as the wanted error of log ∫ p = 0 takes: all of what the
    layers below have left of it where the ESS says that no block will follow, half of it (of the variance) otherwise.
    """
    index, plan = len(stack.layers), RejectionPlan(layers, config.rejection_rate, config.enough_ess)
    calibration = _weights(stack, config.calibration, generator_for(config.seed, "weigh", index, stack.device))
    draws = config.weighing
    if config.log_z_error is not None:
        after = outlook(calibration, plan)
        left = max(0.0, config.log_z_error**2 - log_z_error(stack.layers) ** 2)
        more = flows_in(stack) < config.flows_first + config.blocks
        if more and (config.wanted_ess is None or after.ess < config.wanted_ess):
            left *= 0.5
        needed = after.spread**2 / left if left else math.inf
        draws = int(min(draws, max(LEAST, math.ceil(needed) if needed < draws else draws)))
    weighing = _weights(stack, draws, generator_for(config.seed, "reject", index, stack.device))
    return fit_rejections(WeightPool(calibration), WeightPool(weighing), plan)


def _weights(stack: Stack, n: int, stream: torch.Generator) -> Array:
    return stack.draw(n, stream, log_g=True).log_weights()
