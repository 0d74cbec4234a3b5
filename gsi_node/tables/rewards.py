"""A reward given by a table of step texts, or by a function of prefix and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from gsi_node.bases import RewardBase
from gsi_node.errors import ConfigError
from gsi_node.identity import described, fingerprint_of
from gsi_node.types import Prefix, Step


class TableReward(RewardBase):
    """r(x, y) from {step text: reward} or a function of (prefix, step). Raises ConfigError for an unknown step."""

    def __init__(
        self,
        table: Mapping[str, float] | Callable[[Prefix, Step], float],
        *,
        range: tuple[float, float] = (0.0, 1.0),
        name: str = "table",
    ) -> None:
        self.name = name
        self.range = range
        self._table = table

    @property
    def fingerprint(self) -> str:
        content = self.name if callable(self._table) else repr(sorted(self._table.items()))
        first = "table:" + blake2b(f"{content} {self.range}".encode(), digest_size=8).hexdigest()
        return fingerprint_of(first, {"function": described(self._table)}) if callable(self._table) else first

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if callable(self._table):
            return [self._table(prefix, step) for step in steps]
        unknown = [step.text for step in steps if step.text not in self._table]
        if unknown:
            raise ConfigError(f"reward table {self.name!r} has no reward for the steps {unknown}")
        return [self._table[step.text] for step in steps]
