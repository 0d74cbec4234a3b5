"""A finite language model: a table of step probabilities, possibly one for each prefix. Exact and enumerable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from gsi_node.core.choose import Chooser, KeyedChooser
from gsi_node.errors import ConfigError
from gsi_node.models.base import AsyncTwins
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step

Table = Mapping[str, float]
EOS_ID = 0x110000  # the first integer that is no Unicode code point


class TableModel(AsyncTwins):
    """π(y | x) from {step text: probability}, already under the sampling law: temperature is not applied again.

    table: one for every prefix, or a function of the prefix. A step whose text does not end in a blank line ends the
    response. Token ids are Unicode code points, then EOS_ID where the step ends the response. Probabilities must sum
    to 1 within 1e-9.
    """

    vocabulary = "unicode code points"
    stop_ids = (EOS_ID,)

    def __init__(
        self,
        table: Table | Callable[[Prefix], Table],
        *,
        name: str = "table",
        chooser: Callable[[Key, int], Chooser] = KeyedChooser,
    ) -> None:
        self.name = name
        self._chooser = chooser
        self._table = table
        if not callable(table):
            _check(table, name)

    @property
    def fingerprint(self) -> str:
        content = self.name if callable(self._table) else repr(sorted(self._table.items()))
        return "table:" + blake2b(content.encode(), digest_size=8).hexdigest()

    def supports(self, law: SamplingLaw) -> None:
        """Every law: the table is the law."""

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        texts, log_probs = zip(*_logs(self._at(prefix)).items(), strict=True)
        chosen = [self._chooser(key, i).choose(log_probs) for i in range(n)]
        return [table_step(texts[index], log_probs[index]) for index in chosen]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        logs = _logs(self._at(prefix))
        return [Score(logs.get(step.text, -math.inf)) for step in steps]

    def _at(self, prefix: Prefix) -> Table:
        if not callable(self._table):
            return self._table
        table = self._table(prefix)
        _check(table, self.name)
        return table


def table_step(text: str, log_prob: float) -> Step:
    """The step a table model makes of a text; log_prob in nats."""
    finished = not text.endswith("\n\n")
    return Step(text, tuple(map(ord, text)) + ((EOS_ID,) if finished else ()), log_prob, finished)


def _logs(table: Table) -> dict[str, float]:
    return {text: math.log(p) if p > 0.0 else -math.inf for text, p in table.items()}


def _check(table: Table, name: str) -> None:
    bad = {text: p for text, p in table.items() if not 0.0 <= p <= 1.0}
    if bad or not table or abs(math.fsum(table.values()) - 1.0) > 1e-9:
        raise ConfigError(f"table model {name!r}: probabilities must lie in [0, 1] and sum to 1, got {dict(table)}")
