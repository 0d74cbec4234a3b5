"""The scale of a density, found before training: one function of (log g, its gradient, dim, seed).

shells and ascents → a tempered cloud → modes → a mixture of Student-t components → the Pilot. Where several modes are
far apart in many dimensions, their Laplace approximations are the mixture, and what the flows start from. Where the
points are fewer in effect than the dimensions, the coordinates are those of the heaviest mode's Laplace approximation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gsi_node.errors import NotNormalisable
from gsi_node.neural_jko.frame import AffineFrame
from gsi_node.neural_jko.latent import GaussianMixture, Latent, NormalLatent
from gsi_node.neural_jko.pilot.locate import Cloud, centre_of, cloud_of, normal, radius_of
from gsi_node.neural_jko.pilot.many import find_many, laplace_mixture
from gsi_node.neural_jko.pilot.mixture import Component, StudentMixture, adapt, cholesky
from gsi_node.neural_jko.pilot.modes import ModeBox, find_modes
from gsi_node.neural_jko.pilot.points import WeightedPoints
from gsi_node.neural_jko.pilot.probe import LogDensity, Probe, ess_share, largest

__all__ = ["BUDGET", "Pilot", "WeightedPoints", "pilot"]

BUDGET = 20_000  # evaluations of log g, with or without its gradient
CLOUD, MODES, MANY = 0.2, 0.2, 0.4  # shares of them, at most; the last beyond FEW dimensions
FEW = 10  # up to which the cloud sees all modes, and ends on ridges are worth as much
RETRIES = 2  # of a cloud that fell together, with half as many
AT_A_MODE = 150  # draws of the mixture's first component there
GAP = 12.0  # nats between the modes and one Gaussian that a flow from N(0, I) is asked to make up, at most:
# tuned between gmm10 (9.7 to 10.8) and gmm20 (14.6 to 15.7)
CHECK = 1_024  # of them, kept for the first temperature


@dataclass(frozen=True, slots=True)
class Pilot:
    """What is known of g before training. Points are float64, logs in nats.

    frame: the coordinates in which flows work. latent: what they start from, in these coordinates; latent_ess: of its
    draws as a proposal for g, a share. modes: (k, dim). points: weighted, of x; their log g is relative to
    `reference`. first_power: the first step of the path from the latent to g, at conditional ESS ½. evaluations: of
    log g, with or without its gradient, spent.
    """

    frame: AffineFrame
    latent: Latent
    latent_ess: float
    modes: Tensor
    points: WeightedPoints
    reference: float
    first_power: float
    evaluations: int

    @property
    def log_z(self) -> float:
        """log ∫ g, by the points' weights."""
        return self.points.log_z + self.reference

    @property
    def fits_points(self) -> bool:
        """Whether the points say more of g than its modes do: see `thin`."""
        return not (len(self.modes) and thin(self.points))


def pilot(log_density: LogDensity, dim: int, seed: int, budget: int = BUDGET) -> Pilot:
    """The scale, modes and weighted points of a density from at most `budget` evaluations.

    log_density: (n, dim) -> (n,) float64, nats, differentiable. Adding a constant to it changes log_z by that constant
    and nothing else. Raises InvalidLogProb, ConfigError; NotNormalisable where no scale can be found.
    """
    generator = torch.Generator().manual_seed(seed)
    probe = Probe(log_density, budget)
    cloud = _cloud(probe, dim, generator)
    if dim <= FEW:
        found, laplace = find_modes(probe, cloud, generator, int(MODES * budget)), None
    else:
        found = find_many(probe, cloud, generator, int(MANY * budget))
        laplace = laplace_mixture(found.modes, generator, GAP)
    mixture = StudentMixture(dim)
    if laplace is None:
        mixture.add(probe, _starts(cloud, found, probe.left() - CHECK), generator)
        adapt(mixture, probe, generator, CHECK)
    else:
        mixture.add(probe, _at_modes(laplace, probe.left() - CHECK), generator)
    points = mixture.points
    if not bool(torch.isfinite(points.log_weights()).any()) or not bool(torch.isfinite(points.x).all()):
        raise NotNormalisable(
            f"no scale found in {probe.count} evaluations: the log-density is −inf or not finite wherever it was "
            f"asked, last around {cloud.mean.tolist()[:4]}; check it at a point where it should be high"
        )
    frame = coordinates(points, generator)
    if laplace is None and found.modes and thin(points):
        heaviest = max(found.modes, key=lambda mode: mode.log_mass)
        frame = AffineFrame(heaviest.x, cholesky(heaviest.covariance))
    latent: Latent = NormalLatent(dim) if laplace is None else laplace.in_frame(frame)
    z = normal(generator, CHECK, dim) if laplace is None else latent.draw(CHECK, generator)
    gap = torch.nan_to_num(probe.value(frame.to_x(z)) - latent.log_prob(z), nan=-math.inf)
    return Pilot(
        frame=frame,
        latent=latent,
        latent_ess=ess_share(gap),
        modes=torch.stack([mode.x for mode in found.modes]) if found.modes else torch.empty(0, dim).double(),
        points=points,
        reference=probe.reference or 0.0,
        first_power=math.exp(largest(lambda a: ess_share(math.exp(a) * gap) >= 0.5, -30.0, 0.0)),
        evaluations=probe.count,
    )


def _cloud(probe: Probe, dim: int, generator: torch.Generator) -> Cloud:
    budget = int(CLOUD * probe.budget)
    centre, radius = centre_of(probe, dim, generator)
    cloud = cloud_of(probe, centre, radius, generator, budget)
    for _ in range(RETRIES):
        if cloud.settled:
            break
        _, radius = radius_of(probe, cloud.highest, generator)
        cloud = cloud_of(probe, cloud.highest, radius, generator, budget // 2)
    return cloud


def _starts(cloud: Cloud, found: ModeBox, left: int) -> list[Component]:
    """The mixture's first components: around the cloud, around all modes, and at each mode as many as are left for."""
    several = len(found.modes) > 1
    away = cloud.x - cloud.mean
    covariance = away.t() @ away / len(away)
    covariance = 0.8 * covariance + 0.2 * torch.diag(covariance.diagonal())
    hull = (found.centre, found.spread) if several else (cloud.mean, cloud.spread)
    wide: list[Component] = [
        (cloud.mean, torch.diag(1.5 * cloud.spread), 400),
        (hull[0], torch.diag(2.0 * hull[1]), 600),
        (cloud.mean, 1.2 * cholesky(covariance), 400),
    ]
    most = max(0, (left - 1_400) // AT_A_MODE)
    return wide + [(mode.x, cholesky(mode.covariance), AT_A_MODE) for mode in found.modes[:most]]


def _at_modes(laplace: GaussianMixture, draws: int) -> list[Component]:
    """A component a mode; half of the draws by mass, half evenly."""
    shares = 0.5 * laplace.log_weights.exp() + 0.5 / len(laplace.centres)
    parts = zip(laplace.centres, laplace.factors, shares.tolist(), strict=True)
    return [(centre, factor, int(share * draws)) for centre, factor, share in parts]


def thin(points: WeightedPoints) -> bool:
    """Beyond FEW dimensions, fewer effective points than dimensions: their covariance is singular, or nearly so."""
    dim = points.x.shape[1]
    return dim > FEW and points.share * len(points) < dim


def coordinates(points: WeightedPoints, generator: torch.Generator) -> AffineFrame:
    """Centre the midpoint of q05 and q95, A = D C^{1/2}; D = (q95 − q05) / 3.29, C the correlation.

    C is of 8,000 resampled points clipped at ±4 D around the median, and shrunk towards I by dim / (dim + 200).
    """
    dim = points.x.shape[1]
    low, middle, high = points.quantiles((0.05, 0.5, 0.95))
    spread = ((high - low) / 3.29).clamp(min=1e-300)
    scaled = ((points.resampled(8_000, generator) - middle) / spread).clamp(-4.0, 4.0)
    scaled = scaled - scaled.mean(0)
    correlation = scaled.t() @ scaled
    norm = correlation.diagonal().sqrt().clamp(min=1e-300)
    shrink = dim / (dim + 200.0)
    correlation = (1 - shrink) * correlation / norm[:, None] / norm + shrink * torch.eye(dim, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(correlation)
    root = vectors @ torch.diag(values.clamp(min=0.0).sqrt()) @ vectors.t()
    return AffineFrame(0.5 * (low + high), spread[:, None] * root)
