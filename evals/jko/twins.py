"""The targets' log-densities once more, written with jax.numpy for the samplers of blackjax; tests hold them equal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.cox import MEAN, Cox
from gsi_node.neural_jko.known import Funnel, Mixture, Mustache
from gsi_node.neural_jko.targets import Target

if TYPE_CHECKING:
    from jax import Array as JaxArray  # imported where chains run

    JaxLogDensity = Callable[[JaxArray], JaxArray]


def twin(target: Target) -> JaxLogDensity:
    """log g of one point (dim,), nats. To be built and called under `jax.enable_x64`. Raises ConfigError for others."""
    if isinstance(target, Mixture):
        return _mixture(target)
    if isinstance(target, Funnel):
        return _funnel(target)
    if isinstance(target, Mustache):
        return _mustache(target)
    if isinstance(target, Cox):
        return _cox(target)
    raise ConfigError(f"target {target.name}: no twin for jax; add one to evals/jko/twins.py, or --baselines none")


def _mixture(target: Mixture) -> JaxLogDensity:
    import jax
    import jax.numpy as jnp

    means, variance = jnp.asarray(target.means.numpy()), target.variance
    constant = math.log(len(target.means)) + 0.5 * target.dim * math.log(2 * math.pi * variance)
    return lambda x: jax.scipy.special.logsumexp(-0.5 / variance * ((x - means) ** 2).sum(-1)) - constant


def _funnel(target: Funnel) -> JaxLogDensity:
    import jax.numpy as jnp

    rest, constant = target.dim - 1, 0.5 * target.dim * math.log(2 * math.pi) + math.log(3.0)
    return lambda x: -0.5 * (x[0] ** 2 / 9 + jnp.exp(-x[0]) * (x[1:] ** 2).sum() + rest * x[0]) - constant


def _mustache(target: Mustache) -> JaxLogDensity:
    rho = target.correlation
    constant = math.log(2 * math.pi * math.sqrt(1 - rho**2))

    def log_g(x: JaxArray) -> JaxArray:
        second = x[1] - (x[0] ** 2 - 1) ** 2 - rho * x[0]
        return -0.5 * (x[0] ** 2 + second**2 / (1 - rho**2)) - constant

    return log_g


def _cox(target: Cox) -> JaxLogDensity:
    import jax.numpy as jnp
    from scipy.linalg import solve_triangular
    from scipy.special import gammaln

    factor, counts, cells = target.factor.numpy(), target.counts.numpy(), target.dim
    whiten, k = jnp.asarray(solve_triangular(factor, jnp.eye(cells), lower=True)), jnp.asarray(counts)
    constant = float(
        jnp.log(factor.diagonal()).sum()
        + 0.5 * cells * math.log(2 * math.pi)
        + (counts * math.log(cells) + gammaln(counts + 1.0)).sum()
    )

    def log_g(y: JaxArray) -> JaxArray:
        return -0.5 * ((whiten @ (y - MEAN)) ** 2).sum() + (k * y - jnp.exp(y) / cells).sum() - constant

    return log_g
