"""Modes in many dimensions: ascents from starts of many widths, until each mode was reached eight times."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gsi_node.neural_jko.latent import GaussianMixture
from gsi_node.neural_jko.pilot.locate import Ascents, Cloud, ascend, normal
from gsi_node.neural_jko.pilot.mixture import cholesky
from gsi_node.neural_jko.pilot.modes import LIGHTEST, Mode, ModeBox, laplace
from gsi_node.neural_jko.pilot.probe import Probe

STARTS, ITERATIONS, LOOKED_AT, ROUNDS = 24, 40, 12, 40
REACHED = 8  # ascents to each mode, at least: one as easily reached as the rarest was then missed with e⁻⁸
WIDER = 16.0  # of the widest starts over the nearest
EMPTY, ALONE = 2, 3  # rounds in a row that find nothing new, after which a search may end; of one that knows one mode
CONVERGED = 1e-4  # nats that a Newton step promises at a mode, at most
NEAR = 1.0  # nats that BFGS promises at an end that is looked at, at most


def laplace_mixture(modes: list[Mode], generator: torch.Generator, gap: float) -> GaussianMixture | None:
    """The Laplace approximations by their masses; None where the Gaussian of the moments is within `gap` nats of it."""
    if len(modes) < 2:
        return None
    masses = torch.tensor([mode.log_mass for mode in modes], dtype=torch.float64)
    factors = torch.stack([cholesky(mode.covariance) for mode in modes])
    mixture = GaussianMixture(masses.log_softmax(0), torch.stack([mode.x for mode in modes]), factors)
    return mixture if mixture.gap(generator) > gap else None


def find_many(probe: Probe, cloud: Cloud, generator: torch.Generator, budget: int) -> ModeBox:
    """Rounds of ascents from N(box's centre, (r spread)²), r log-uniform on 3 to 48; until two are known on 4 to 64,
    and after each empty round on 16 times that.

    From near by, the starts of high dimensions all climb the mode that the cloud has fallen into: a mode μ spreads away
    in each of d coordinates is the nearest only to starts with r above about μ √d / 4. The search ends when some rounds
    in a row found nothing new and every mode was reached REACHED times: modes reached once or twice say that others
    were not reached at all (Good 1953).
    """
    dim, stop = len(cloud.mean), probe.count + budget
    limits = Limits(cloud.log_z - LIGHTEST - 0.1 * dim, stop)
    inner = ascend(probe, torch.stack([cloud.mean, cloud.highest]), float(cloud.spread.mean()), max(ITERATIONS, dim))
    modes = _new_modes(probe, inner, cloud.spread, [], limits)
    reached = [0] * len(modes)
    centre, spread, empty = cloud.mean, cloud.spread, 0
    for _ in range(ROUNDS):
        several = len(modes) > 1
        over = empty >= (EMPTY if several else ALONE) and min(reached, default=REACHED) >= REACHED
        if over or stop - probe.count < STARTS * ITERATIONS // 4:
            break
        nearest = 3.0 if several else 4.0 * WIDER**empty
        reach = nearest * WIDER ** torch.rand(STARTS, 1, generator=generator).double()
        ends = ascend(probe, centre + reach * spread * normal(generator, STARTS, dim), float(spread.mean()), ITERATIONS)
        new = _new_modes(probe, ends, spread, modes, limits)
        modes += new
        reached = [times + sum(modes[i].covers(x) for x in ends.x) for i, times in enumerate(reached + [0] * len(new))]
        if modes:
            at = torch.stack([mode.x for mode in modes])
            low = torch.minimum(at.min(0).values, cloud.mean - 2 * cloud.spread)
            high = torch.maximum(at.max(0).values, cloud.mean + 2 * cloud.spread)
            centre = 0.5 * (low + high)
            spread = torch.maximum(0.25 * (high - low), cloud.spread)
        empty = 0 if new else empty + 1
    return ModeBox(modes, centre, spread)


class Limits(NamedTuple):
    """lightest: log mass of a mode that counts, nats. stop: the count of evaluations at which the search ends."""

    lightest: float
    stop: int


def _new_modes(probe: Probe, ends: Ascents, spread: Tensor, known: list[Mode], limits: Limits) -> list[Mode]:
    new: list[Mode] = []
    seen: list[Tensor] = []
    for i in ends.log_g.argsort(descending=True).tolist():
        x = ends.x[i]
        usable = bool(torch.isfinite(x).all()) and math.isfinite(float(ends.log_g[i])) and bool(ends.promised[i] < NEAR)
        if not usable or any(float(((x - other) / spread).norm()) <= 0.02 for other in seen):
            continue
        if any(mode.covers(x) for mode in (*known, *new)):
            continue
        if len(seen) == LOOKED_AT or limits.stop - probe.count < 2 * len(spread):
            break
        seen.append(x)
        mode = _polished(probe, x, ends.inverse_hessian[i], spread, limits.stop)
        if (
            mode is not None
            and mode.log_mass > limits.lightest
            and not any(one.covers(mode.x) for one in (*known, *new))
        ):
            new.append(mode)
    return new


def _polished(probe: Probe, x: Tensor, inverse_hessian: Tensor, spread: Tensor, stop: int) -> Mode | None:
    """The mode at the end of an ascent, by Newton steps; None where they do not climb, as on a ridge."""
    log_g, slope = (value[0] for value in probe.gradient(x[None]))
    while stop - probe.count > 2 * len(x):
        covariance = laplace(probe, x, inverse_hessian, spread)
        if covariance is None:
            return None
        way = covariance @ slope
        if float(slope @ way) < CONVERGED:
            return Mode(x, float(log_g), covariance)
        log_y, slope_y = (value[0] for value in probe.gradient((x + way)[None]))
        if not bool(log_y > log_g):
            return None
        x, log_g, slope, inverse_hessian = x + way, log_y, slope_y, covariance
    return None
