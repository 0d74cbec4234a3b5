"""Small targets with closed forms and settings that train in about a second."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import torch
from torch import Tensor

from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import OwnTarget, Target

QUICK = JKOConfig(
    coordinates="latent", likelihood_steps=0, rounds=0, flows_first=1, first_rejections=0, blocks=1, rejections=2,
    wanted_ess=None, proposal_ess=1.0, width=16, activation="tanh", gate=0, gain=3.0, solver="rk4", train_ode_steps=4,
    step_jitter=0, steps=60, optimizer="adam", learning_rate=1e-2, final_learning_rate=1e-3, batch_size=128,
    particles=2048, calibration=2048, weighing=4096, log_z_error=None, tau=1.0, tau_growth=10.0, ode_steps=6,
)  # fmt: skip
LOG_Z = 3.7


def gaussian(dim: int) -> OwnTarget:
    """g = e^3.7 N(x; (1, …), diag(0.6², 0.6², …)): mean 1, standard deviation 0.6 in every coordinate."""
    constant = LOG_Z - dim * math.log(0.6 * math.sqrt(2 * math.pi))
    return OwnTarget(lambda x: constant - 0.5 * ((x - 1.0) / 0.6).square().sum(1), dim, f"gaussian{dim}")


def two_modes(dim: int) -> OwnTarget:
    """g = 0.3 N(−2 e_1, 0.5² I) + 0.7 N(+2 e_1, 0.5² I)."""

    def log_density(x: Tensor) -> Tensor:
        shift = torch.zeros(dim, dtype=x.dtype)
        shift[0] = 2.0
        parts = [math.log(w) - 2.0 * (x - m).square().sum(1) for w, m in ((0.3, -shift), (0.7, shift))]
        return torch.logsumexp(torch.stack(parts), 0) - dim * math.log(0.5 * math.sqrt(2 * math.pi))

    return OwnTarget(log_density, dim, f"two{dim}")


@functools.cache
def trained(kind: str, dim: int) -> Stack:
    """A stack trained once a session."""
    import tempfile

    target: Target = {"gaussian": gaussian, "two": two_modes}[kind](dim)
    with tempfile.TemporaryDirectory() as folder:
        return Run(target, QUICK, Path(folder)).complete()


def integral(stack: Stack, low: float, high: float, points: int) -> float:
    """∫ p by the midpoint rule on a grid of `points` in each dimension."""
    width = (high - low) / points
    axis = low + width * (torch.arange(points, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(*[axis] * stack.dim).reshape(-1, stack.dim)
    return float(stack.log_prob(grid).exp().sum()) * width**stack.dim
