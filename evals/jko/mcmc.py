"""HMC and MALA of blackjax on the targets of neural JKO, from as many evaluations of log g as a budget allows.

Each chain is tuned as in Stan (windowed adaptation of its step size and of a diagonal mass matrix) on a quarter of its
transitions; of the rest, states at equal distances are kept. MALA is HMC with one leapfrog step, and is tuned alike.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.targets import Target

if TYPE_CHECKING:
    from blackjax.mcmc.hmc import HMCState  # imported where chains run
    from jax import Array as JaxArray

LEAPFROGS = {"mala": 1, "hmc": 5}
WANTED = {"mala": 0.574, "hmc": 0.8}  # mean acceptance
TUNING = 0.25  # of the transitions of a chain
SHORTEST = 80  # transitions of a chain; where the budget is too small for all starts, fewer chains are run


class Chains(NamedTuple):
    """States (n, dim) at equal distances, what they cost, and how they were tuned.

    evaluations: of log g with its gradient, tuning included. step_size: the median over chains. acceptance: the mean.
    """

    x: torch.Tensor
    chains: int
    evaluations: int
    cpu_seconds: float
    step_size: float
    acceptance: float


def run(algorithm: str, target: Target, start: torch.Tensor, budget: int, n: int, seed: int) -> Chains:
    """n states of chains from the points `start` (k, dim), `budget` evaluations at most.

    Where they have fewer than n states, some are repeated. Raises ConfigError for a budget that is too small.
    """
    import blackjax
    import jax

    from evals.jko.twins import twin

    before, leapfrogs = time.process_time(), LEAPFROGS[algorithm]
    chains = min(len(start), budget // (1 + leapfrogs * SHORTEST))
    if chains == 0:
        raise ConfigError(f"{algorithm}: {budget} evaluations are too few for one chain of {SHORTEST} transitions")
    length = (budget // chains - 1) // leapfrogs  # one evaluation is that of a start
    kept = min(math.floor((1 - TUNING) * length), math.ceil(n / chains))
    thin = math.floor((1 - TUNING) * length) // kept
    with jax.enable_x64(True):
        density = twin(target)
        adaptation = blackjax.window_adaptation(
            blackjax.hmc,
            density,
            target_acceptance_rate=WANTED[algorithm],
            adaptation_info_fn=lambda *_: None,
            num_integration_steps=leapfrogs,
        )

        def chain(key: JaxArray, x: JaxArray) -> tuple[JaxArray, JaxArray, JaxArray]:
            """Kept states (kept, dim), mean acceptance, step size."""
            first, second = jax.random.split(key)
            (state, settings), _ = adaptation.run(first, x, length - kept * thin)
            step = blackjax.hmc(density, **settings).step

            def advance(state: HMCState, key: JaxArray) -> tuple[HMCState, JaxArray]:
                state, info = step(key, state)
                return state, info.acceptance_rate

            def keep(state: HMCState, key: JaxArray) -> tuple[HMCState, tuple[JaxArray, JaxArray]]:
                state, rates = jax.lax.scan(advance, state, jax.random.split(key, thin))
                return state, (state.position, rates.mean())

            _, (states, rates) = jax.lax.scan(keep, state, jax.random.split(second, kept))
            return states, rates.mean(), settings["step_size"]

        keys = jax.random.split(jax.random.key(seed), chains)
        states, rates, steps = jax.jit(jax.vmap(chain))(keys, jax.numpy.asarray(start[:chains].double().numpy()))
        x = np.asarray(states).reshape(-1, target.dim)
        return Chains(
            torch.from_numpy(x[np.arange(n) * len(x) // n]),
            chains,
            chains * (1 + leapfrogs * length),
            time.process_time() - before,
            float(np.median(steps)),
            float(np.mean(rates)),
        )
