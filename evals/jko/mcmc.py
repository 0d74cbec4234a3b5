"""HMC and MALA of blackjax, one independent chain a sample, on the targets of neural JKO: what they are compared with.

Every chain starts from the latent N(0, I), as neural JKO does, and its last state is one sample. The step size is the
largest of a geometric grid whose pilot chains reach the wanted mean acceptance (0.574 for MALA, 0.65 for HMC).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.known import Funnel, Mixture, Mustache
from gsi_node.neural_jko.targets import KnownTarget

if TYPE_CHECKING:
    from jax import Array as JaxArray  # imported where chains run

ALGORITHMS = ("mala", "hmc")
WANTED = {"mala": 0.574, "hmc": 0.65}
LEAPFROGS = 10
PILOT_CHAINS, PILOT_STEPS = 200, 100
GRID = [0.5 * 2.0**-k for k in range(11)]  # HMC's step sizes; MALA's are ε²/2 of these, the same proposals' scale


class Chains(NamedTuple):
    """End states (n, dim), what they cost and how they were tuned. evaluations: of log g with its gradient."""

    x: torch.Tensor
    evaluations: int
    seconds: float
    step_size: float
    acceptance: float


def check(algorithms: Iterable[str]) -> None:
    """Refuse an algorithm that there is not, or whose packages are missing. Raises ConfigError."""
    for name in algorithms:
        if name not in ALGORITHMS:
            raise ConfigError(f"--baselines: no {name}; there are {', '.join(ALGORITHMS)}, or none")
        for package in ("blackjax", "jax"):
            if find_spec(package) is None:
                raise ConfigError(f"{name} needs {package}: pip install 'gsi-node[jko]', or --baselines none")


def log_density(target: KnownTarget) -> Callable[[JaxArray], JaxArray]:
    """The target's log g of one point (dim,), written with jax.numpy; equal to `target.log_density` (a test)."""
    import jax
    import jax.numpy as jnp

    if isinstance(target, Mixture):
        means, variance, dim = jnp.asarray(target.means.numpy()), target.variance, target.dim
        constant = math.log(len(target.means)) + 0.5 * dim * math.log(2 * math.pi * variance)
        return lambda x: jax.scipy.special.logsumexp(-0.5 / variance * ((x - means) ** 2).sum(-1)) - constant
    if isinstance(target, Funnel):
        rest, shift = target.dim - 1, 0.5 * target.dim * math.log(2 * math.pi) + math.log(3.0)
        return lambda x: -0.5 * (x[0] ** 2 / 9 + jnp.exp(-x[0]) * (x[1:] ** 2).sum() + rest * x[0]) - shift
    if isinstance(target, Mustache):
        rho = target.correlation
        norm = math.log(2 * math.pi * math.sqrt(1 - rho**2))

        def mustache(x: JaxArray) -> JaxArray:
            second = x[1] - (x[0] ** 2 - 1) ** 2 - rho * x[0]
            return -0.5 * (x[0] ** 2 + second**2 / (1 - rho**2)) - norm

        return mustache
    raise ConfigError(f"target {target.name}: no twin for jax; add one to evals/jko/mcmc.py")


def run(algorithm: str, target: KnownTarget, n: int, steps: int, seed: int) -> Chains:
    """n chains of `steps` transitions each."""
    import blackjax
    import jax

    density = log_density(target)

    def kernel(epsilon: JaxArray) -> blackjax.SamplingAlgorithm:
        if algorithm == "mala":
            return blackjax.mala(density, step_size=0.5 * epsilon**2)
        metric = np.ones(target.dim)
        return blackjax.hmc(density, step_size=epsilon, inverse_mass_matrix=metric, num_integration_steps=LEAPFROGS)

    def advanced(epsilon: JaxArray, start: JaxArray, keys: JaxArray) -> tuple[JaxArray, JaxArray]:
        """Chains from `start` (n, dim), one transition a row of keys: end states, and mean acceptance a transition."""
        sampler = kernel(epsilon)

        def one(states: JaxArray, key: JaxArray) -> tuple[JaxArray, JaxArray]:
            states, info = jax.vmap(sampler.step)(jax.random.split(key, len(start)), states)
            return states, info.acceptance_rate.mean()

        states, rates = jax.lax.scan(one, jax.vmap(sampler.init)(start), keys)
        return states.position, rates

    advance = jax.jit(advanced)

    def chains(epsilon: float, count: int, length: int, key: JaxArray) -> tuple[NDArray[np.float32], float]:
        first, second = jax.random.split(key)
        start = jax.random.normal(first, (count, target.dim))
        x, rates = advance(epsilon, start, jax.random.split(second, length))
        return np.asarray(x), float(np.nanmean(np.asarray(rates)[length // 2 :]))

    keys = jax.random.split(jax.random.key(seed), len(GRID) + 1)
    start, tried = time.perf_counter(), 0
    epsilon = GRID[-1]
    for guess, key in zip(GRID, keys[1:], strict=True):
        tried += 1
        if chains(guess, PILOT_CHAINS, PILOT_STEPS, key)[1] >= WANTED[algorithm]:
            epsilon = guess
            break
    x, rate = chains(epsilon, n, steps, keys[0])
    gradients = 1 if algorithm == "mala" else LEAPFROGS
    evaluations = gradients * (n * steps + tried * PILOT_CHAINS * PILOT_STEPS) + n
    return Chains(torch.from_numpy(x.copy()), evaluations, time.perf_counter() - start, epsilon, rate)
