"""How long a run takes, told before it trains: a few timed steps of this machine, times what the plan holds."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from gsi_node.neural_jko import train
from gsi_node.neural_jko.config import JKOConfig, LayerStage
from gsi_node.neural_jko.flow import CHUNK, Flow
from gsi_node.neural_jko.metrics import distance
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import KnownTarget
from gsi_node.types import Plain

WARM, STEPS = 2, 20  # of fitting: the optimiser is imported in the first; SOAP renews its bases in every tenth
REPEATS = 3
PAIRED = 1000  # points of a timed distance
PAGES = 4.0  # CPU seconds: plotting


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """CPU seconds on this machine. latent: of one draw. step: of fitting a flow, by maximum likelihood. point: a flow's
    evaluation at one point. log_g: of one point, with its gradient. pair: of points, in a distance."""

    latent: float
    step: float
    point: float
    log_g: float
    pair: float


class Course(NamedTuple):
    """How a run may go, as far as the plan leaves it open.

    rounds: of refitting, layers: of rejection on a flow, a dimension; no more than are allowed. doublings: of a flow's
    ODE steps until its density settles. ess: of the layers to come, a share: at 0 every block is made, at 1 none that
    is conditional. variance: of h = p_n / p_0, whose mean E α's draws keep at 1. slower: the machine than while it was
    timed, a factor.
    """

    rounds: float
    layers: float
    doublings: int
    ess: float
    variance: float
    slower: float


# The most rounds that were counted, and layers (docs/log.md). A flow of ESS ½ has Var w = 1, which h comes up to.
LIKELY = Course(rounds=0.4, layers=3.0, doublings=0, ess=1.0, variance=1.0, slower=1.0)
# More doublings than one have not been seen.
MOST = Course(rounds=math.inf, layers=math.inf, doublings=1, ess=0.0, variance=math.inf, slower=1.5)


def timed(run: Run) -> UnitCosts:
    """Measured on networks of the run's size; takes under 1,000 evaluations of log g, which no record counts."""
    config, stack = run.config, run.stack(0)  # a pilot runs for it where none has
    velocity = train.new_velocity(stack, config)
    x = torch.randn(CHUNK, stack.dim, generator=train.generator_for(config.seed, "timed", 0)).to(stack.device)
    stream = train.generator_for(config.seed, "timed steps", 0, stack.device)
    loss = train.forward_loss(velocity, x, config, train.PointBatches(config.batch_size, stream))
    flow = Flow(train.new_velocity(stack, config), config.ode_steps)
    few = x[: min(CHUNK, config.batch_size)].double()

    def fit(steps: int) -> None:
        effort = train.Effort("timed", steps, config.learning_rate, stream)
        train.optimise(velocity, loss, config, effort, train.silent)

    def gradient() -> None:
        points = few.clone().requires_grad_()
        run.target.log_density(stack.frame.to_x(points)).sum().backward()

    fit(WARM)
    return UnitCosts(
        latent=_seconds(lambda: stack.draw(CHUNK, stream)) / CHUNK,
        step=_seconds(lambda: fit(STEPS), 1) / STEPS,
        point=_seconds(lambda: flow(x)) / len(x),
        log_g=_seconds(gradient) / len(few),
        pair=_seconds(lambda: distance(x[:PAIRED], x[PAIRED : 2 * PAIRED])) / (3 * PAIRED**2),
    )


def seconds_left(run: Run, samples: int, costs: UnitCosts, course: Course) -> float:
    """CPU seconds to the run's end, measuring on `samples` draws and plotting included."""
    config, records = run.config, list(run.finished())
    by_likelihood = config.likelihood_steps > 0 and run.ground.start is not None
    rounds = min(config.rounds, course.rounds * run.target.dim)
    layers: list[Plain] = []
    draw, evaluate, total = costs.latent, 0.0, 0.0  # of one draw of the layers so far; of the density at a true one
    point, halvings = costs.point * 2**course.doublings, 0
    known = isinstance(run.target, KnownTarget)
    compare = 3 * samples**2 * costs.pair * known
    while (stage := config.next_stage(layers, 0.0 if layers else run.latent_ess)) is not None:
        first, done, below = not layers, len(layers) < len(records), draw
        made = (
            config.made_of(stage, records[len(layers) :]) if done else _planned(config, stage, course, run.target.dim)
        )
        for _ in range(made):
            draw = draw + point if stage.kind == "flow" else (1 + config.rejection_rate) * draw + costs.log_g
        fresh: Plain = {"kind": stage.kind, "ess": course.ess if stage.kind == "rejection" else 0.0}
        layers += records[len(layers) : len(layers) + made] if done else [fresh] * made
        followed = config.next_stage(layers)
        if stage.kind == "flow":
            evaluate += (point + costs.log_g) * known
            refits = rounds if first and by_likelihood else None
            passing = Passing(below, course.doublings, refits, config.steps_in(run.target.dim, 0 if first else 1))
            cost = _flow_cost(config, costs, passing)
        else:
            halvings += followed is not None
            variance = min(course.variance, (1 + config.rejection_rate) ** made - 1)
            cost = (config.calibration + _weighing(config, variance, halvings)) * (below + costs.log_g)
        total += 0.0 if done else cost
        if len(layers) >= len(records) and (followed is None or followed.kind == "flow"):
            total += samples * (draw + evaluate) + compare
    # at the end: draws for the pages, the distance of the pilot's points, the noise of ρ
    total += samples * draw + compare + 36 * min(samples, 2000) ** 2 * costs.pair * known
    return course.slower * total + PAGES


def _planned(config: JKOConfig, stage: LayerStage, course: Course, dim: int) -> int:
    """How many layers the stage takes."""
    if stage.kind == "flow" or config.enough_ess is None:
        return stage.layers
    return math.ceil(min(stage.layers, course.layers * dim))


class Passing(NamedTuple):
    """below: CPU seconds of a draw that a flow starts from. doublings: of its ODE steps. rounds: None for a JKO flow,
    which takes `steps` of training."""

    below: float
    doublings: int
    rounds: float | None
    steps: int


def _flow_cost(config: JKOConfig, costs: UnitCosts, flow: Passing) -> float:
    point = costs.point * 2.0**flow.doublings
    settle = train.SETTLING * (flow.below + 3 * (2 * point - costs.point))  # each number of steps, and twice it back
    judged = config.calibration * (flow.below + point + costs.log_g)
    reverse = costs.step + config.batch_size * costs.log_g
    if flow.rounds is None:
        return config.particles * flow.below + flow.steps * reverse + settle + judged
    judged_wide = 3 * judged  # on twice as many draws of a wider latent, too
    once = config.particles * flow.below + config.round_steps * 1.5 * reverse + settle + judged_wide
    return config.likelihood_steps * costs.step + settle + judged + flow.rounds * once


def _weighing(config: JKOConfig, variance: float, halvings: int) -> int:
    """Draws for E α, of h with that variance under p_0: E h = 1 and h ≤ growth, so it is at most growth − 1.

    A turn that another follows takes half of the error's variance that the earlier ones left.
    """
    if config.log_z_error is None:
        return config.weighing
    needed = math.ceil(variance / (config.log_z_error**2 * 0.5**halvings))
    return min(config.weighing, max(train.LEAST, needed))


def _seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)
