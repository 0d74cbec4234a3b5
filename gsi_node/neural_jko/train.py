"""Training: one layer at a time, each fitted on draws of the stack below that were made for it alone.

Every stage is a function of (stack, config, index of the new layer): its random stream is keyed by the seed and the
index, so a run that was killed goes on from its files to the very stack it would have been.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from gsi_node.core.rng import Stream
from gsi_node.neural_jko import flow
from gsi_node.neural_jko.check import CheckedTarget, refuse_not_finite, refuse_unnormalisable
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import Flow, Velocity
from gsi_node.neural_jko.rejection import Rejection, mean_accept, wanted_log_c
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Key

OnProgress = Callable[[str, int, int, float], None]  # what is being done, steps done, steps in all, loss


def silent(what: str, done: int, total: int, loss: float) -> None:
    pass


def generator_for(seed: int, phase: str, index: int, device: str | torch.device = "cpu") -> torch.Generator:
    """The random stream of one stage of one layer."""
    number = Stream(Key(seed, "neural-jko", index, phase)).uniform()
    return torch.Generator(device).manual_seed(int(number * 2**53))


def empty_stack(target: Target, config: JKOConfig, device: str | torch.device = "cpu") -> Stack:
    """The latent alone. Raises NotNormalisable for a target that visibly has no finite integral."""
    refuse_unnormalisable(target, config.latent_scale, generator_for(config.seed, "rays", 0))
    mean = config.latent_mean[0] if len(config.latent_mean) == 1 else config.latent_mean
    return Stack(CheckedTarget(target), mean=mean, scale=config.latent_scale, device=device)


def fit_flow(stack: Stack, config: JKOConfig, told: OnProgress = silent) -> Flow:
    """The next flow: minimise E[−log g(z(1)) + ω/τ − ℓ + log p(z(0))] by Adam over draws of the stack."""
    index = len(stack.layers)
    stream = generator_for(config.seed, "flow", index, stack.device)
    data = stack.sample(config.particles, stream)
    tau, dim, n = config.tau_of(index), stack.dim, min(config.batch_size, config.particles)
    start = generator_for(config.seed, "network", index)
    velocity = Velocity(dim, config.width, config.depth, gain=config.gain, generator=start).to(stack.device)
    optimizer = torch.optim.Adam(velocity.parameters(), lr=config.learning_rate)
    decay = (config.final_learning_rate / config.learning_rate) ** (1.0 / config.steps)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)
    for step in range(config.steps):
        rows = torch.randint(len(data), (n,), generator=stream, device=stack.device)
        x, log_prob = data.x[rows], data.log_prob[rows]
        probes = None
        if config.divergence == "probes":
            signs = torch.randint(0, 2, (n, config.probes, dim), generator=stream, device=stack.device)
            probes = (2 * signs - 1).to(x)
        z, log_det, energy = flow.solve(velocity, x, steps=config.train_ode_steps, probes=probes, solver=config.solver)
        loss = (-stack.evaluate(z).double() + energy.double() / tau - log_det + log_prob).mean()
        refuse_not_finite(loss, f"the loss of flow {index} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(velocity.parameters(), config.clip_norm)
        optimizer.step()
        schedule.step()
        told(f"flow {index}", step + 1, config.steps, float(loss.detach()))
    return Flow(velocity, config.ode_steps)


def weigh(stack: Stack, config: JKOConfig) -> float:
    """log c of the next rejection layer, for the wanted rate on a fresh batch of draws."""
    stream = generator_for(config.seed, "weigh", len(stack.layers), stack.device)
    return wanted_log_c(stack.sample(config.calibration, stream, log_g=True), config.rejection_rate)


def reject(stack: Stack, config: JKOConfig, log_c: float) -> Rejection:
    """The next rejection layer, its E α estimated on a second fresh batch."""
    stream = generator_for(config.seed, "reject", len(stack.layers), stack.device)
    return Rejection(log_c, mean_accept(stack.sample(config.weighing, stream, log_g=True), log_c))
