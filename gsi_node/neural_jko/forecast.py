"""How long a run takes at most, told before it trains: a few timed steps of this machine, times what the plan holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gsi_node.neural_jko import train
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.flow import CHUNK, Flow
from gsi_node.neural_jko.metrics import distance
from gsi_node.neural_jko.run import Run
from gsi_node.types import Plain

STEPS = 12  # timed ones: SOAP renews its bases in every tenth
REPEATS = 3
PAIRED = 1000  # points of a timed distance
DOUBLINGS = 1  # of a flow's ODE steps until its density settles; more are rare
MARGIN = 1.5  # a machine that others use is slower at other times
PAGES = 20.0  # CPU seconds: plotting


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """CPU seconds on this machine. latent: of one draw. step: of fitting a flow, by maximum likelihood. point: a flow's
    evaluation at one point. log_g: of one point, with its gradient. pair: of points, in a distance."""

    latent: float
    step: float
    point: float
    log_g: float
    pair: float


def timed(run: Run) -> UnitCosts:
    """Measured on networks of the run's size; takes under 1,000 evaluations of log g, which no record counts."""
    config, stack = run.config, run.stack(0)  # a pilot runs for it where none has
    velocity = train.new_velocity(stack, config)
    x = torch.randn(CHUNK, stack.dim, generator=train.generator_for(config.seed, "timed", 0)).to(stack.device)
    stream = train.generator_for(config.seed, "timed steps", 0, stack.device)
    effort = train.Effort("timed", STEPS, config.learning_rate, stream)
    loss = train.forward_loss(velocity, x, config, train.PointBatches(config.batch_size, stream))
    flow = Flow(train.new_velocity(stack, config), config.ode_steps)
    few = x[: min(CHUNK, config.batch_size)].double()

    def gradient() -> None:
        points = few.clone().requires_grad_()
        run.target.log_density(stack.frame.to_x(points)).sum().backward()

    return UnitCosts(
        latent=max(_seconds(lambda: stack.draw(CHUNK, stream)) for _ in range(REPEATS)) / CHUNK,
        step=_seconds(lambda: train.optimise(velocity, loss, config, effort, train.silent)) / STEPS,
        point=max(_seconds(lambda: flow(x)) for _ in range(REPEATS)) / len(x),
        log_g=max(_seconds(gradient) for _ in range(REPEATS)) / len(few),
        pair=_seconds(lambda: distance(x[:PAIRED], x[PAIRED : 2 * PAIRED])) / (3 * PAIRED**2),
    )


def most_seconds(run: Run, samples: int, costs: UnitCosts, ess: float = 0.0) -> float:
    """CPU seconds that are left to the run's end at most, measuring on `samples` draws included.

    Every round that the plan allows is counted, E α with as many draws as it may take, and flows whose ODE steps are
    doubled DOUBLINGS times. ess: of the layers to come; at 0 all blocks are counted, at 1 none that are conditional.
    """
    config, records = run.config, list(run.finished())
    layers: list[Plain] = []
    draw, total = costs.latent, 0.0  # draw: of one point of the layers so far
    point, turn = costs.point * 2**DOUBLINGS, 0
    compare = 3 * samples**2 * costs.pair
    while (stage := config.next_stage(layers, 0.0 if layers else run.ground.ess)) is not None:
        below = draw
        for _ in range(stage.layers):
            draw = draw + point if stage.kind == "flow" else (1 + config.rejection_rate) * draw + costs.log_g
        first = not layers
        if stage.kind == "flow":
            cost = _flow_cost(config, costs, below, point, first=first)
        else:
            growth = (1 + config.rejection_rate) ** stage.layers
            turn += 1
            cost = (config.calibration + _weighing(config, growth, turn)) * (below + costs.log_g)
            cost += config.calibration * (draw + costs.log_g)  # the ESS of the last layer
        done = len(layers) < len(records)
        fresh: Plain = {"kind": stage.kind, "ess": ess if stage.kind == "rejection" else 0.0}
        layers += records[len(layers) : len(layers) + stage.layers] if done else [fresh] * stage.layers
        followed = config.next_stage(layers)
        measured = followed is None or followed.kind == "flow"
        total += (0.0 if done else cost) + (2 * samples * draw + compare if measured else 0.0)
    drawn = 2 * samples * draw + 2 * compare + 36 * min(samples, 2000) ** 2 * costs.pair  # pages, pilot, noise of ρ
    return MARGIN * (total + drawn) + PAGES


def _flow_cost(config: JKOConfig, costs: UnitCosts, below: float, point: float, *, first: bool) -> float:
    """below: of a draw that the flow starts from; point: of one that passes it."""
    settle = train.SETTLING * (below + 3 * 2 * point)
    judged = config.calibration * (below + point + costs.log_g)
    reverse = costs.step + config.batch_size * costs.log_g
    if not (first and config.likelihood_steps):
        return config.particles * below + config.steps * reverse + settle + judged
    once = config.particles * below + config.round_steps * 1.5 * reverse + settle + judged
    return config.likelihood_steps * costs.step + settle + judged + config.rounds * once


def _weighing(config: JKOConfig, growth: float, turn: int) -> int:
    """Draws for E α at most: the spread of h = p_n / p_0 with E h = 1 and h ≤ growth is at most √(growth − 1), and each
    turn takes half of the variance that the earlier ones left."""
    if config.log_z_error is None:
        return config.weighing
    return min(config.weighing, max(train.LEAST, math.ceil((growth - 1) / (config.log_z_error**2 * 0.5**turn))))


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
