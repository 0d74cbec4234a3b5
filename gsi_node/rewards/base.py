"""What GSI asks of a reward model: r(x, y) for each candidate step y after prefix x, in its declared range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from gsi_node.cancel import run_cancellable
from gsi_node.types import Prefix, Step


@runtime_checkable
class Reward(Protocol):
    """r(x, y): a process reward. Values are dimensionless and lie in `range`, usually (0, 1)."""

    @property
    def range(self) -> tuple[float, float]:
        """The closed interval all rewards lie in."""
        ...

    @property
    def fingerprint(self) -> str:
        """A fingerprint of everything that determines the rewards. Stored in checkpoints."""
        ...

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        """One reward a step, in order; every step is a candidate continuation of the same prefix."""
        ...


class AsyncTwin:
    """acall for a synchronous reward: the call in a worker thread, stopped on cancellation."""

    async def acall(self: Reward, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return await run_cancellable(self.__call__, prefix, steps)
