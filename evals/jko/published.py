"""What a table of neural JKO is held against: published values and the aims of this project."""

from __future__ import annotations

from typing import NamedTuple

PUBLISHED_N = 50_000  # samples


class Published(NamedTuple):
    """rho: D / E‖X − X'‖ − 1/n at PUBLISHED_N. energy_distance: D, where that is what was printed."""

    sampler: str
    rho: float
    energy_distance: float | None = None


def _of_distance(energy_distance: float, apart: float) -> Published:
    """apart: E‖X − X'‖ of the truth, over 100,000 pairs of it."""
    return Published("published", energy_distance / apart - 1 / PUBLISHED_N, energy_distance)


PUBLISHED = {  # arXiv 2407.20444; its HMC where it has one
    "mustache": [_of_distance(2.9e-3, 3.93), Published("published HMC", 4.3e-3)],
    "8modes": [_of_distance(1.2e-5, 1.287)],
    "8peaky": [_of_distance(3.4e-5, 1.277)],
    "funnel": [_of_distance(1.4e-2, 16.95), Published("published HMC", 1.6e-4)],
    "gmm10": [_of_distance(5.3e-5, 2.273)],
    "gmm20": [Published("published", 1.3e-5)],
    "gmm50": [Published("published", 0.0)],
    "gmm100": [Published("published", 6e-5)],
    "gmm200": [Published("published", 3e-4)],
}

RHO = {
    **dict.fromkeys(("mustache", "8modes", "8peaky", "gmm10", "gmm20"), 5e-5),  # what noise leaves visible
    **dict.fromkeys(("gmm50", "gmm100"), 1e-4),
    "funnel": 4e-4,
}  # at most, at n = 20,000
TAIL = {"funnel": 0.1}  # of the truth's 99.9 % quantile of x₁, at most away
LOG_Z = 0.02  # nats, at most away
