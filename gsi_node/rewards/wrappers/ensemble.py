"""Several rewards as one: mean, weighted mean, minimum or product of what the members say about a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from gsi_node.errors import ConfigError, GSIError
from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.wrapped import Rewards, Wrapped
from gsi_node.types import Prefix, Step

Combining = Literal["mean", "weighted", "min", "product"]
HOWS: tuple[Combining, ...] = ("mean", "weighted", "min", "product")


class Ensemble(Wrapped):
    """r(x, y) = how(r_1(x, y), …). A member that fails, or leaves its range, is named.

    With VerifierReward(prior=1.0) as a member, "min" and "product" cap the reward of a proven arithmetic error at 0
    and leave every other step to the other members.
    """

    def __init__(self, members: Sequence[Reward], how: str = "mean", weights: Sequence[float] | None = None) -> None:
        """weights: for how="weighted", one a member, none negative; they are divided by their sum."""
        if not members:
            raise ConfigError("an ensemble needs at least one member; write ensemble:verifier|pocket")
        if how not in HOWS:
            raise ConfigError(f"ensemble how={how!r} is unknown; known: {', '.join(HOWS)}")
        if (how == "weighted") != (weights is not None):
            raise ConfigError(f"ensemble how={how!r}: weights belong to how=weighted, and only to it")
        super().__init__(*members, name=f"ensemble {how} of {', '.join(map(name_of, members))}")
        self._how = how
        self._weights = _shares(weights, len(members)) if weights is not None else [1 / len(members)] * len(members)
        if how == "product" and any(member.range[0] < 0 for member in members):
            raise ConfigError("ensemble how='product' needs members whose rewards are never negative")

    @property
    def range(self) -> tuple[float, float]:
        low, high = (self._combined([member.range[end] for member in self.members]) for end in (0, 1))
        return low, high

    @property
    def fingerprint(self) -> str:
        inner = " | ".join(member.fingerprint for member in self.members)
        return f"ensemble({self._how}, {self._weights}): {inner}"

    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        return steps, lambda said: [self._combined(values) for values in zip(*said, strict=True)]

    @contextmanager
    def naming(self, member: Reward) -> Iterator[None]:
        """Errors say which member they come from."""
        try:
            yield
        except GSIError as error:
            raise type(error)(f"ensemble member {name_of(member)}: {error}") from error
        except Exception as error:
            error.add_note(f"in member {name_of(member)} of the ensemble")
            raise

    def _combined(self, values: Sequence[float]) -> float:
        if self._how == "min":
            return min(values)
        if self._how == "product":
            return math.prod(values)
        return math.fsum(share * value for share, value in zip(self._weights, values, strict=True))


def _shares(weights: Sequence[float], members: int) -> list[float]:
    whole = sum(weights)
    if len(weights) != members or any(not 0 <= weight < math.inf for weight in weights) or not 0 < whole < math.inf:
        raise ConfigError(f"ensemble weights {list(weights)}: give {members} numbers, none negative and one above 0")
    return [weight / whole for weight in weights]
