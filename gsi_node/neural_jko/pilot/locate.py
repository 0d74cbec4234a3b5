"""Where the mass lies and how wide it is: shells of every radius, ascents, and a small tempered cloud.

No scale is given: radii 2⁻²⁴ … 2³¹ are tried, and the rest is in units of what was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gsi_node.neural_jko.pilot.points import systematic
from gsi_node.neural_jko.pilot.probe import Probe, ess_share, largest, log_mean_exp, robust_spread

RADII = tuple(2.0**k for k in range(-24, 32))
A_SHELL = 8  # points on one
CENTRES = 4  # rounds of ascents at most
PARTICLES, LEAPFROGS, ESS_A_STEP = 64, 2, 0.5


class Ascents(NamedTuple):
    """Of ascents: the points (n, dim), log g there, the inverse of −∇² log g as BFGS has built it (n, dim, dim).

    promised: slope · inverse · slope (n,), nats; half of it is what a further step would climb.
    """

    x: Tensor
    log_g: Tensor
    inverse_hessian: Tensor
    promised: Tensor


class Cloud(NamedTuple):
    """Points (n, dim) that follow g roughly; mean and spread of each coordinate (dim,); log ∫ g in nats, roughly.

    highest: the point with the largest log g. settled: the path was walked to g, and the points did not fall together.
    """

    x: Tensor
    mean: Tensor
    spread: Tensor
    log_z: float
    highest: Tensor
    settled: bool


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def radius_of(
    probe: Probe,
    centre: Tensor,
    generator: torch.Generator,
    radii: Sequence[float] = RADII,
    n: int = A_SHELL,
) -> tuple[float, float]:
    """max over R of log mean_u g(c + R u) + dim · log R with n u ~ N(0, I), and that R: the mass around c by shells."""
    dim, sizes = len(centre), torch.tensor(radii, dtype=torch.float64)
    points = centre + sizes[:, None, None] * normal(generator, len(radii), n, dim)
    values = probe.value(points.reshape(-1, dim)).reshape(len(radii), n)
    scores = torch.logsumexp(values, 1) - math.log(n) + dim * sizes.log()
    best = int(scores.argmax())
    return float(scores[best]), radii[best]


def ascend(probe: Probe, x: Tensor, radius: float, iterations: int) -> Ascents:
    """BFGS on log g from every row of x (n, dim), the step quartered where it does not climb. radius: of a first step.

    Where log g is convex along a step its inverse Hessian is stretched by 4 instead: it goes on faster.
    """
    (n, dim), eye = x.shape, torch.eye(x.shape[1], dtype=torch.float64)
    x = x.clone()
    log_g, slope = probe.gradient(x)
    metric = eye.expand(n, dim, dim) * (0.1 * radius / slope.norm(dim=1).clamp(min=1e-300))[:, None, None]
    length, fresh = torch.ones(n, dtype=torch.float64), torch.ones(n, dtype=torch.bool)
    gain = torch.full((n,), math.inf, dtype=torch.float64)
    for _ in range(iterations):
        way = (metric @ slope[:, :, None])[:, :, 0]
        y = x + length[:, None] * way
        log_y, slope_y = probe.gradient(y)
        climbs = (log_y >= log_g + 1e-4 * length * (slope * way).sum(1)) & torch.isfinite(log_y)
        s, q = y - x, slope - slope_y
        bend = (s * q).sum(1)
        bent = climbs & (bend > 1e-12 * s.norm(dim=1) * q.norm(dim=1))
        begin = (bent & fresh)[:, None, None]
        scale = (bend / q.square().sum(1).clamp(min=1e-300))[:, None, None]
        metric = torch.where(begin, eye * scale, metric)
        turn = eye - s[:, :, None] * q[:, None, :] / torch.where(bent, bend, torch.ones_like(bend))[:, None, None]
        outer = s[:, :, None] * s[:, None, :] / torch.where(bent, bend, torch.ones_like(bend))[:, None, None]
        updated = turn @ metric @ turn.transpose(1, 2) + outer
        metric = torch.where(bent[:, None, None], updated, metric)
        metric = torch.where((climbs & ~bent)[:, None, None], 4.0 * metric, metric)
        fresh = fresh & ~bent
        x, log_g = torch.where(climbs[:, None], y, x), torch.where(climbs, log_y, log_g)
        slope = torch.where(climbs[:, None], slope_y, slope)
        length = torch.where(climbs, torch.ones_like(length), 0.25 * length)
        gain = (slope * (metric @ slope[:, :, None])[:, :, 0]).sum(1).abs()
        if bool(((length < 1e-12) | (gain < 1e-6)).all()):
            break
    return Ascents(x, log_g, metric, gain)


def centre_of(probe: Probe, dim: int, generator: torch.Generator) -> tuple[Tensor, float]:
    """The centre and radius with the most mass by shells: the origin's, or of the ends of ascents, round by round.

    A round starts four ascents around the best centre so far and looks at the two highest ends; it is the last where
    nothing better is found (one round alone leaves a centre far out on an arm of the mustache in 3 of 30 seeds).
    """
    origin = torch.zeros(dim, dtype=torch.float64)
    best = (*radius_of(probe, origin, generator), origin)
    for _ in range(CENTRES):
        score, radius, centre = best
        starts = centre + torch.cat([1e-3 * radius * normal(generator, 1, dim), radius * normal(generator, 3, dim)])
        ends = ascend(probe, starts, radius, 60)
        for i in ends.log_g.argsort(descending=True)[:2].tolist():
            found = (*radius_of(probe, ends.x[i], generator), ends.x[i])
            best = max(best, found, key=lambda one: one[0])
        if best[0] <= score + 1.0:
            break
    smaller = [best[1] * 2.0**-k for k in range(8)]  # one lucky point makes a shell too wide: looked at with more
    return best[2], radius_of(probe, best[2], generator, smaller, 8 * A_SHELL)[1]


def cloud_of(probe: Probe, centre: Tensor, radius: float, generator: torch.Generator, budget: int) -> Cloud:
    """Sequential Monte Carlo on N(c, (2R)²)^{1−b} g^b, b from 0 to 1 by conditional ESS ½; HMC with a step a particle.

    Stops early where `budget` evaluations are spent.
    """
    n, dim, scale, stop = PARTICLES, len(centre), 2.0 * radius, probe.count + budget

    def latent(x: Tensor) -> Tensor:
        return -0.5 * ((x - centre) / scale).square().sum(1) - dim * math.log(scale * math.sqrt(2 * math.pi))

    x = centre + scale * normal(generator, n, dim)
    log_g, slope = probe.gradient(x)
    steps = torch.full((n,), dim ** (-1 / 6), dtype=torch.float64)
    power, log_z = 0.0, 0.0
    while power < 1.0 and probe.count < stop:
        gap = log_g - latent(x)
        rest = 1.0 - power
        if ess_share(rest * gap) < ESS_A_STEP:
            rest = _step(gap, rest)
        weights = torch.nan_to_num(rest * gap, nan=-math.inf)
        power, log_z = min(1.0, power + rest), log_z + log_mean_exp(weights)
        power = 1.0 if power > 1.0 - 1e-12 else power
        kept = systematic(torch.softmax(weights, 0), n, generator)
        x, log_g, slope, steps = x[kept], log_g[kept], slope[kept], steps[kept]
        for _ in range(1 if power < 1.0 else 2):
            spread = _spread_of(x)
            step = (steps * torch.exp(0.25 * normal(generator, n)))[:, None]
            momentum = normal(generator, n, dim)
            energy, y, log_y, slope_y = 0.5 * momentum.square().sum(1), x, log_g, slope
            for _ in range(LEAPFROGS):
                momentum = momentum + 0.5 * step * spread * _pull(y, slope_y, power, centre, scale)
                y = y + step * spread * momentum
                y = torch.where(torch.isfinite(y).all(1, keepdim=True), y, x)
                log_y, slope_y = probe.gradient(y)
                momentum = momentum + 0.5 * step * spread * _pull(y, slope_y, power, centre, scale)
            change = power * (log_y - log_g) + (1 - power) * (latent(y) - latent(x))
            log_accept = change + energy - 0.5 * momentum.square().sum(1)
            accept = torch.where(torch.isfinite(log_accept), log_accept, -math.inf).clamp(max=0.0).exp()
            moves = torch.rand(n, generator=generator, dtype=torch.float64) < accept
            x, slope = torch.where(moves[:, None], y, x), torch.where(moves[:, None], slope_y, slope)
            log_g = torch.where(moves, log_y, log_g)
            steps = torch.where(moves, step[:, 0], steps) * torch.exp(0.6 * (accept - 0.65))
    spread = _spread_of(x)
    settled = power == 1.0 and len(torch.unique(x, dim=0)) > n // 4 and bool((x.std(0) > 0).all())
    return Cloud(x, x.mean(0), spread, log_z, x[int(log_g.argmax())], settled)


def _spread_of(x: Tensor) -> Tensor:
    """Standard deviations, no more than twice the robust ones, which are 0 where most points have one ancestor."""
    spread = x.std(0)
    return torch.minimum(spread, torch.maximum(2 * robust_spread(x), 0.1 * spread)).clamp(min=1e-300)


def _step(gap: Tensor, rest: float) -> float:
    """The part of the rest of the path at which the conditional ESS is ½."""
    return math.exp(largest(lambda a: ess_share(math.exp(a) * gap) >= ESS_A_STEP, -60.0, math.log(rest)))


def _pull(x: Tensor, slope: Tensor, power: float, centre: Tensor, scale: float) -> Tensor:
    """∇ log of N(c, scale²)^{1−b} g^b."""
    return power * slope - (1.0 - power) * (x - centre) / scale**2
