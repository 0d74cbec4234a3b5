"""A reward that never changes makes the tilt blind: every candidate weighs the same. Said once, as a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

CANDIDATES = 48
"""Different candidates in a row with exactly one reward before it is reported."""


class ConstantWatch:
    """Counts the candidates that got one same reward."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._value: float | None = None
        self._count = 0
        self._over = False

    def see(self, rewards: Iterable[float]) -> None:
        """Take note of the rewards of different candidates; warn once when CANDIDATES of them were equal."""
        if self._over:
            return
        for value in rewards:
            if self._value is not None and value != self._value:
                self._over = True  # it varies: nothing to report, ever
                return
            self._value = value
            self._count += 1
        if self._count >= CANDIDATES:
            self._over = True
            warnings.warn(
                f"reward model {self._name} gave {self._value} to each of {self._count} candidates: a constant reward "
                "cannot tell steps apart; check that it is the right model, family and prompt",
                UserWarning,
                stacklevel=3,
            )
