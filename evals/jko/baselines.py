"""What neural JKO is compared with: HMC, MALA and tempered SMC of blackjax, with as many target evaluations as it took.

The budget is the model's own: pilot, training, E α and the draws. Each sampler has two rows. One starts blind: chains
from N(0, I), SMC from N(0, 10² I), a scale that a user has to guess (mog40 wants a larger). The other starts from the
pilot, whose evaluations are in the budget: chains from its resampled points, SMC in its coordinates, twice as wide.

Blind chains are few, so that they are long enough to forget their start: of 20, 100 and 400 that was best on mustache,
8modes and the funnel (gmm10 and gmm20, whose modes no chain leaves, want more). Those from the pilot are many, so that
their starts carry the weights of the modes: 400 was best, or within noise of it, on each.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import NamedTuple

import torch

from evals.jko import mcmc, smc
from evals.jko.truth import bare
from gsi_node.errors import ConfigError
from gsi_node.needs import install_extra
from gsi_node.neural_jko.frame import AffineFrame, round_frame
from gsi_node.neural_jko.pilot import Pilot
from gsi_node.neural_jko.targets import KnownTarget
from gsi_node.neural_jko.train import generator_for
from gsi_node.types import Plain

ALGORITHMS = ("hmc", "mala", "smc")
BLIND_CHAINS, PILOT_CHAINS = 20, 400
BLIND_SCALE, PILOT_SCALE = 10.0, 2.0  # of SMC's first Gaussian; the second in the pilot's coordinates


BaselineDraws = tuple[torch.Tensor, Plain]  # samples (n, dim), and what their row says beside their distances


class Baseline(NamedTuple):
    """A sampler and its start. pilot: None, or what it starts from, its evaluations paid for."""

    algorithm: str
    pilot: Pilot | None

    @property
    def method(self) -> str:
        return f"{self.algorithm.upper()}{', blind' if self.pilot is None else ' from the pilot'}"

    @property
    def file(self) -> str:
        return self.algorithm + ("" if self.pilot is None else "-pilot")

    def draw(self, target: KnownTarget, budget: int, n: int, seed: int) -> BaselineDraws:
        """n samples from `budget` evaluations. Raises ConfigError for one that is too small."""
        spent = 0 if self.pilot is None else self.pilot.evaluations
        sampled = self._tempered if self.algorithm == "smc" else self._chains
        x, about = sampled(target, budget - spent, n, seed)
        return x, {**about, "evaluations": spent + about["evaluations"]}

    def _chains(self, target: KnownTarget, budget: int, n: int, seed: int) -> BaselineDraws:
        stream = generator_for(seed, "starts", n)
        if self.pilot is None:
            start = torch.randn(BLIND_CHAINS, target.dim, generator=stream, dtype=torch.float64)
        else:
            start = self.pilot.points.resampled(PILOT_CHAINS, stream)
        made = mcmc.run(self.algorithm, bare(target), start, budget, n, seed)
        return made.x, {key: value for key, value in made._asdict().items() if key != "x"}

    def _tempered(self, target: KnownTarget, budget: int, n: int, seed: int) -> BaselineDraws:
        start = round_frame(target.dim, scale=BLIND_SCALE)
        if self.pilot is not None:
            start = AffineFrame(self.pilot.frame.centre, PILOT_SCALE * self.pilot.frame.matrix)
        made = smc.run(bare(target), start, budget, n, seed)
        about = {key: value for key, value in made._asdict().items() if key != "x"}
        return made.x, {**about, "log_z_truth": target.log_z}


def check(algorithms: Iterable[str]) -> None:
    """Refuse an algorithm that there is not, or whose packages are missing. Raises ConfigError."""
    for name in algorithms:
        if name not in ALGORITHMS:
            raise ConfigError(f"--baselines: no {name}; there are {', '.join(ALGORITHMS)}, or none")
        for package in ("blackjax", "jax"):
            if find_spec(package) is None:
                raise ConfigError(f"{name} needs {package}: {install_extra('jko')}, or --baselines none")


def baselines(algorithms: Iterable[str], pilot: Pilot | None) -> list[Baseline]:
    """Blind, and from the pilot where there is one."""
    return [Baseline(name, start) for name in algorithms for start in ([None] if pilot is None else [None, pilot])]
