"""What a training step of neural JKO costs, by network and solver, and which part of it.

    python -m evals jko-steps

CPU time of one thread, milliseconds: medians over turns in which all settings take turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from evals.report.text_table import TextTable
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.options import positive
from gsi_node.host.shell import FAILED, WRONG_CALL, complain
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import OwnTarget
from gsi_node.neural_jko.train import (
    Aim,
    Effort,
    PointBatches,
    generator_for,
    new_velocity,
    optimise,
    reverse_loss,
)
from gsi_node.types import Plain

CELLS: dict[str, tuple[int, Plain]] = {
    "width 128, dim 2": (2, {"width": 128}),
    **{f"default width, dim {dim}": (dim, {}) for dim in (2, 10, 50)},
}
SOLVERS = ("midpoint", "rk3", "rk4")
WARM = 2  # steps at the start of a turn that are not counted


class StepTime(NamedTuple):
    """Milliseconds of a step: the loss, its gradient, and all that an optimiser's step takes beyond these."""

    forward: float
    backward: float
    optimiser: float

    @property
    def whole(self) -> float:
        return sum(self)


def turn(
    config: JKOConfig, dim: int, steps: int, device: str = "cpu", now: Callable[[], float] = time.process_time
) -> StepTime:
    """`steps` steps of reverse KL to N(0, I), whose own cost is small, after WARM that are not counted."""
    target = OwnTarget(lambda x: -0.5 * x.square().sum(1), dim)
    stack = Stack(CheckedTarget(target), device=device)
    stream = generator_for(config.seed, "steps", 0, device)
    velocity, data = new_velocity(stack, config), stack.draw(config.particles, stream)
    loss = reverse_loss(velocity, stack, data, Aim(), config, PointBatches(config.batch_size, stream))
    parts: list[tuple[float, float]] = []
    for _ in range(WARM + steps):
        start = now()
        value = loss(config.train_ode_steps, 0.0)
        middle = now()
        value.backward()
        parts.append((middle - start, now() - middle))
    ends: list[float] = []
    effort = Effort("step", WARM + steps, config.learning_rate, stream)
    optimise(velocity, loss, config, effort, lambda *told: ends.append(now()))
    forward, backward = np.mean(parts[WARM:], axis=0)
    whole = (ends[-1] - ends[WARM - 1]) / steps
    return StepTime(1e3 * forward, 1e3 * backward, 1e3 * (whole - forward - backward))


def median(turns: list[StepTime]) -> StepTime:
    return StepTime(*np.median(turns, axis=0).tolist())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=positive, default=5, help="of every setting")
    parser.add_argument("--steps", type=positive, default=10, help="of a turn")


def main(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    try:
        settings = {
            (name, solver): (dim, configured("cpu", "", {**changes, "solver": solver, "step_jitter": 0}))
            for name, (dim, changes) in CELLS.items()
            for solver in SOLVERS
        }
        turns: dict[tuple[str, str], list[StepTime]] = {key: [] for key in settings}
        for _ in range(options.turns):
            for key, (dim, config) in settings.items():
                turns[key].append(turn(config, dim, options.steps))
        sys.stdout.write(table({key: median(found) for key, found in turns.items()}).markdown())
        return 0
    except GSIError as error:
        complain(str(error))
        return WRONG_CALL if isinstance(error, ConfigError) else FAILED


def table(times: Mapping[tuple[str, str], StepTime]) -> TextTable:
    """A line a setting."""
    rows = [
        (name, solver, f"{step.whole:.1f}", *(f"{part / step.whole:.0%}" for part in step))
        for (name, solver), step in times.items()
    ]
    config = JKOConfig()
    note = f"Batches of {config.batch_size}, {config.train_ode_steps} ODE steps, optimiser {config.optimizer}."
    return TextTable("A training step", ("network", "solver", "ms a step", "loss", "gradient", "rest"), rows, (note,))
