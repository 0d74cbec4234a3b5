"""Calibrated rewards: a monotone map, fitted to steps of known correctness, turns a reward into a probability."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.host.paths import expanded
from gsi_node.identity import same_fingerprint
from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.wrapped import Rewards, Wrapped
from gsi_node.types import Array, Prefix, Step

METHODS = ("platt", "isotonic")
NAME = "calibration.json"
EDGE = 1e-6  # rewards are kept this far from 0 and 1 before their logit is taken


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt: P = sigmoid(slope · logit(r) + offset). Isotonic: linear between the points (rewards, probabilities).

    reward: the fingerprint of the reward it was fitted to. before, after: mean negative log-likelihood of the
    labels in nats, on the `examples` it was fitted to.
    """

    method: Literal["platt", "isotonic"]
    reward: str
    examples: int
    before: float
    after: float
    slope: float = 1.0
    offset: float = 0.0
    rewards: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, values: Sequence[float]) -> list[float]:
        """The calibrated rewards, in [0, 1]."""
        if self.method == "platt":
            fitted = sigmoid(self.slope * logit(values) + self.offset)
        else:
            fitted = np.interp(values, self.rewards, self.probabilities)
        return [float(value) for value in fitted]

    def save(self, path: Path) -> None:
        """Write it as JSON. Raises StorageError."""
        write(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; ConfigError for anything else."""
        try:
            content = json.loads(path.read_text("utf-8"))
            for key in ("rewards", "probabilities"):
                content[key] = tuple(map(float, content[key]))
            found = cls(**content)
            found._refuse_broken()
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"calibration file {path} cannot be read ({error}); write one with gsi calibrate SPEC LABELS --out FILE"
            ) from error
        return found

    def _refuse_broken(self) -> None:
        """Raise ValueError where it is no map into [0, 1] that rises with the reward."""
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r}; known: {', '.join(METHODS)}")
        numbers: list[object] = [self.before, self.after, self.slope, self.offset, *self.rewards, *self.probabilities]
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError("a number that is not finite")
        rising = list(self.rewards) == sorted(self.rewards) and list(self.probabilities) == sorted(self.probabilities)
        within = all(0.0 <= p <= 1.0 for p in self.probabilities)
        if len(self.rewards) != len(self.probabilities) or not rising or not within:
            raise ValueError("its points are no rising map into [0, 1]")
        if self.method == "isotonic" and not self.rewards:
            raise ValueError("it has no points")


class CalibratedReward(Wrapped):
    """calibration(r(x, y)). The calibration must have been fitted to this very reward."""

    range = (0.0, 1.0)

    def __init__(self, inner: Reward, file: str | Path | None = None) -> None:
        """file: what `gsi calibrate` wrote; by default calibration.json in the folder of a local model."""
        super().__init__(inner, name=f"calibrated {name_of(inner)}")
        path = beside(inner) if file is None else expanded(file)
        self.calibration = Calibration.load(path)
        if not same_fingerprint(self.calibration.reward, inner.fingerprint):
            raise ConfigError(f"calibration file {path} was fitted to another reward; fit it again to this one")

    @property
    def fingerprint(self) -> str:
        return f"calibrated({self.calibration}): {self.members[0].fingerprint}"

    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        return steps, lambda said: [value for rewards in said for value in self.calibration(rewards)]


def beside(reward: Reward) -> Path:
    """calibration.json in the folder of a local model; ConfigError where there is no folder."""
    folder = expanded(name_of(reward))
    if not folder.is_dir():
        raise ConfigError(f"reward {name_of(reward)} has no folder to keep a calibration in; name a file for it")
    return folder / NAME


def sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def logit(values: Sequence[float] | Array) -> Array:
    p = np.clip(np.asarray(values, dtype=np.float64), EDGE, 1 - EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))
