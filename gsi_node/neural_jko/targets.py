"""What is sampled from: a callable log-density; by name, the paper's test distributions and others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.cox import Cox, drawn_points, read_points
from gsi_node.neural_jko.known import Funnel, Mustache, eight_modes, gmm, mog40


class Target(Protocol):
    """An unnormalised density g on R^dim. `log_density` maps points (n, dim) to log g, shape (n,), differentiably.

    −inf is legal (no mass there); NaN and +inf are errors. The result has the dtype and device of the points.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    def log_density(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class KnownTarget(Target, Protocol):
    """A target with ground truth: `sample(n, generator)` draws independent points, `log_z` is log ∫ g in nats."""

    @property
    def log_z(self) -> float: ...
    def sample(self, n: int, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class OwnTarget:
    """A user's log-density: `OwnTarget(f, dim=3)` with f: (n, dim) -> (n,), nats, up to an additive constant."""

    log_density: Callable[[Tensor], Tensor]
    dim: int
    name: str = "own"


FIXED: dict[str, Callable[[], Target]] = {
    "mustache": Mustache,
    "8modes": eight_modes,
    "8peaky": lambda: eight_modes(0.005, "8peaky"),
    "funnel": Funnel,
}
DRAWN: dict[str, Callable[[int], Target]] = {  # what is random about them is drawn from a seed
    **{f"gmm{dim}": partial(gmm, dim) for dim in (10, 20, 50, 100, 200)},
    "mog40": mog40,
    "cox": lambda seed: Cox(drawn_points(seed)),
}
TARGETS = (*FIXED, *DRAWN)


def named(name: str, seed: int | None = None, points: Path | None = None) -> Target:
    """One of `TARGETS`. Raises ConfigError: another name, or a seed or points that the target has no use for.

    seed: of `DRAWN` ones; None: 0. points: a file of those of `cox`, in place of drawn ones.
    """
    if name not in TARGETS:
        raise ConfigError(f"target {name!r}: there is none of that name; known are {', '.join(TARGETS)}")
    if seed is not None and name in FIXED:
        raise ConfigError(f"target seed {seed}: nothing of {name} is drawn; leave it out ({', '.join(DRAWN)} take one)")
    if points is None:
        return FIXED[name]() if name in FIXED else DRAWN[name](seed or 0)
    if name != "cox":
        raise ConfigError(f"points {points}: target {name} takes none; only cox does")
    if seed is not None:
        raise ConfigError(f"target seed {seed}: of the points of cox, which {points} gives; leave one of them out")
    return Cox(read_points(points))


def with_truth(target: Target) -> KnownTarget:
    """The target, where its truth can be drawn. Raises ConfigError."""
    if not isinstance(target, KnownTarget):
        raise ConfigError(f"target {target.name}: no ground truth to compare with; take another, or --truth FILE")
    return target
