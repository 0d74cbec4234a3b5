"""Adaptive tempered SMC of blackjax from a Gaussian, with as many evaluations of log g as a budget allows.

The path g_λ = N(0, I)^{1−λ} g^λ in the coordinates of a frame; each λ is the largest that keeps half of the effective
sample size. Moves are HMC with the particles' variances as its metric and a step size that follows the mean acceptance.
What the budget leaves at λ = 1 goes on moving there, and all states since are samples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from gsi_node.neural_jko.frame import AffineFrame
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Array

if TYPE_CHECKING:
    from blackjax.smc.tempered import TemperedSMCState  # imported where particles move
    from jax import Array as JaxArray

    from evals.jko.twins import JaxLogDensity

FEW = 64  # particles of a first path, which tells how many levels there are
PATH = 0.6  # of the budget
LEAPFROGS, ESS = 5, 0.5
WANTED, EAGERNESS = 0.8, 2.0  # mean acceptance, and by how much the logarithm of the step size follows it


class SMCPath(NamedTuple):
    """x: the particles after steps at λ = 1, (n, dim). steps: all of them, at λ < 1 too. log_z: nats."""

    x: Array
    log_z: float
    steps: int
    step_size: float
    acceptance: float


class Swarm(NamedTuple):
    """With the settings of their next moves."""

    state: TemperedSMCState
    step_size: JaxArray
    variances: JaxArray


class Tempered(NamedTuple):
    """n samples, log ∫ g in nats, and what they cost. evaluations: of log g with its gradient, both paths' together.

    chains: particles. step_size, acceptance: of the last step.
    """

    x: torch.Tensor
    log_z: float
    chains: int
    evaluations: int
    cpu_seconds: float
    step_size: float
    acceptance: float


def run(target: Target, start: AffineFrame, budget: int, n: int, seed: int) -> Tempered:
    """A first path of few particles, then one of as many as PATH of the budget allows, then moves at λ = 1.

    start: N(0, I) in z; it has to cover g.

    It spends more than the budget only where that many particles cannot reach λ = 1 within it.
    """
    import jax

    from evals.jko.twins import twin

    before = time.process_time()
    with jax.enable_x64(True):
        density, (first, second) = framed(twin(target), start), jax.random.split(jax.random.key(seed))
        walk = walker(density, target.dim)
        few = walk(FEW, first, 1, FEW)
        spent = FEW * (1 + LEAPFROGS * few.steps)
        particles = max(FEW, int(PATH * (budget - spent) / (1 + LEAPFROGS * few.steps)))
        path = walk(particles, second, ((budget - spent) // particles - 1) // LEAPFROGS, n)
    return Tempered(
        start.to_x(torch.from_numpy(path.x[np.arange(n) * len(path.x) // n])),
        path.log_z,
        particles,
        spent + particles * (1 + LEAPFROGS * path.steps),
        time.process_time() - before,
        path.step_size,
        path.acceptance,
    )


def framed(density: JaxLogDensity, frame: AffineFrame) -> JaxLogDensity:
    """The density of z, x = m + A z, with the same integral."""
    import jax.numpy as jnp

    centre, matrix = jnp.asarray(frame.centre.numpy()), jnp.asarray(frame.matrix.numpy())
    volume = float(jnp.linalg.slogdet(matrix)[1])
    return lambda z: density(centre + matrix @ z) + volume


def walker(density: JaxLogDensity, dim: int) -> Callable[[int, JaxArray, int, int], SMCPath]:
    """From N(0, I) to the density g of one point (dim,), and on at λ = 1, one step at least, until `moves` are made.

    Of (particles, key, moves, wanted): steps at λ = 1 are kept at equal distances, about as many as have `wanted`
    states. Under `jax.enable_x64`; compiled once for a number of particles. A step costs LEAPFROGS evaluations a
    particle, values at its ends being kept.
    """
    import blackjax
    import jax
    import jax.numpy as jnp
    from blackjax.smc import adaptive_tempered, resampling

    def latent(z: JaxArray) -> JaxArray:
        return -0.5 * ((z**2).sum() + dim * math.log(2 * math.pi))

    kernel = adaptive_tempered.build_kernel(
        latent,
        lambda z: density(z) - latent(z),
        partial(blackjax.hmc.build_kernel(), num_integration_steps=LEAPFROGS),
        blackjax.hmc.init,
        resampling.systematic,
        ESS,
    )

    def advanced(key: JaxArray, now: Swarm) -> tuple[Swarm, JaxArray, JaxArray]:
        """One step: the particles, what log Z gains, and the mean acceptance."""
        settings = {"step_size": now.step_size[None], "inverse_mass_matrix": now.variances[None]}
        state, info = kernel(key, now.state, 1, settings)
        rate = info.update_info.acceptance_rate.mean()
        away = state.particles - state.weights @ state.particles
        step_size = now.step_size * jnp.exp(EAGERNESS * (rate - WANTED))
        return Swarm(state, step_size, state.weights @ away**2), info.log_likelihood_increment, rate

    advance = jax.jit(advanced)

    def walk(particles: int, key: JaxArray, moves: int, wanted: int) -> SMCPath:
        start, moving = jax.random.split(key)
        state = blackjax.smc.tempered.init(jax.random.normal(start, (particles, dim)))
        now = Swarm(state, jnp.asarray(dim**-0.25), jnp.ones(dim))
        log_z, made, stride, at_end = 0.0, 0, 0, list[Array]()
        while not at_end or made < moves:
            ended = float(now.state.tempering_param) >= 1.0
            if ended and not stride:
                stride = max(1, (moves - made) * particles // wanted)  # more states than wanted would only fill memory
            now, increment, rate = advance(jax.random.fold_in(moving, made), now)
            log_z, made = log_z + float(increment), made + 1  # at λ = 1 the increment is 0
            if ended and (made >= moves or (moves - made) % stride == 0):
                at_end.append(np.asarray(now.state.particles))
        return SMCPath(np.concatenate(at_end), log_z, made, float(now.step_size), float(rate))

    return walk
