"""Finite language models, exact and enumerable: tables of the probabilities of steps, or of next tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from gsi_node.bases import AsyncTwins
from gsi_node.core.choose import Chooser, KeyedChooser
from gsi_node.ends import END, START, StepEnds, check_reached
from gsi_node.errors import ConfigError, LawMismatch, VocabularyMismatch
from gsi_node.identity import described, fingerprint_of
from gsi_node.types import PARAGRAPH, Array, Ends, Key, Prefix, SamplingLaw, Score, Step

Table = Mapping[str, float]
EOS_ID = 0x110000  # the first integer that is no Unicode code point


class TableModel(AsyncTwins):
    """π(y | x) from {step text: probability}, already under the sampling law: temperature is not applied again.

    table: one for every prefix, or a function of the prefix. A step whose text holds no step end ends the response; one
    that goes on behind an end is refused (LawMismatch). Token ids are Unicode code points, then EOS_ID where the step
    ends the response. Probabilities must sum to 1 within 1e-9.
    """

    vocabulary = "unicode code points"
    eos_ids = (EOS_ID,)

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
        first = "table:" + blake2b(content.encode(), digest_size=8).hexdigest()
        return fingerprint_of(first, {"function": described(self._table)}) if callable(self._table) else first

    def supports(self, law: SamplingLaw) -> None:
        """Every law whose step ends are those of the table; else LawMismatch."""
        if not law.ends.strings:
            raise LawMismatch(f"table model {self.name!r} has whole steps, which no number of tokens ends; name an end")
        if not callable(self._table):
            self._at(Prefix(""), law)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        finished = token_ids[-1] == EOS_ID
        points = token_ids[:-1] if finished else token_ids
        if not all(0 <= i < EOS_ID for i in points):
            raise VocabularyMismatch(f"table model {self.name!r}: token ids are code points, got {max(points)}")
        return Step("".join(map(chr, points)), tuple(token_ids), log_prob, finished)

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        texts, log_probs = zip(*_logs(self._at(prefix, law)).items(), strict=True)
        chosen = [self._chooser(key, i).choose(log_probs) for i in range(n)]
        return [table_step(texts[index], log_probs[index], law.ends) for index in chosen]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        logs = _logs(self._at(prefix, law))
        return [Score(logs.get(step.text, -math.inf)) for step in steps]

    def _at(self, prefix: Prefix, law: SamplingLaw) -> Table:
        table = self._table(prefix) if callable(self._table) else self._table
        if callable(self._table):
            _check(table, self.name)
        beyond = [text for text in table if _byte_ends(law.ends).beyond(text.encode())]
        if beyond:
            raise LawMismatch(f"table model {self.name!r}: step {beyond[0]!r:.60} goes on behind an end of {law.ends}")
        return table


@lru_cache
def _byte_ends(ends: Ends) -> StepEnds:
    return StepEnds(ends, [bytes((byte,)) for byte in range(256)], ())


def table_step(text: str, log_prob: float, ends: Ends = PARAGRAPH) -> Step:
    """The step a table model makes of a text; log_prob in nats."""
    finished = _byte_ends(ends).length(text.encode()) is None
    return Step(text, tuple(map(ord, text)) + ((EOS_ID,) if finished else ()), log_prob, finished)


class TokenTable(AsyncTwins):
    """π(token | x, tokens of the step so far) from a function to probabilities, one a token id, under the sampling law.

    tokens: the text of each id. The id `eos`, which ends the response, has no text. The probabilities must sum to
    1 within 1e-9.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        table: Callable[[Prefix, tuple[int, ...]], Sequence[float]],
        *,
        eos: int | None = None,
        name: str = "tokens",
        chooser: Callable[[Key, int], Chooser] = KeyedChooser,
    ) -> None:
        self.name = name
        self._tokens, self._table, self._eos, self._chooser = tuple(tokens), table, eos, chooser
        self.eos_ids = () if eos is None else (eos,)
        self._ends = lru_cache(16)(self._ends_under)
        self.vocabulary = f"{self._tokens} {eos}"
        first = "tokens:" + blake2b(f"{name} {self.vocabulary}".encode(), digest_size=8).hexdigest()
        self.fingerprint = fingerprint_of(first, {"function": described(table)})

    def supports(self, law: SamplingLaw) -> None:
        """Every law whose ends its tokens write: the table is the law, cut at max_step_tokens and at those."""
        check_reached(self, law)

    def step_ends(self, law: SamplingLaw) -> StepEnds:
        """Where steps end under `law`."""
        return self._ends(law.ends, self.eos_ids if law.eos_ids is None else law.eos_ids)

    def _ends_under(self, ends: Ends, eos_ids: tuple[int, ...]) -> StepEnds:
        return StepEnds(
            ends, [b"" if i == self._eos else text.encode() for i, text in enumerate(self._tokens)], eos_ids
        )

    def encode(self, text: str) -> tuple[int, ...]:
        ids: list[int] = []
        while text:
            fits = [i for i, token in enumerate(self._tokens) if token and i != self._eos and text.startswith(token)]
            if not fits:
                raise ConfigError(f"token table {self.name!r} has no token for {text[:20]!r}")
            ids.append(max(fits, key=lambda i: len(self._tokens[i])))
            text = text[len(self._tokens[ids[-1]]) :]
        return tuple(ids)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        if not all(0 <= i < len(self._tokens) for i in token_ids):
            raise VocabularyMismatch(
                f"token table {self.name!r} knows ids below {len(self._tokens)}, got {max(token_ids)}"
            )
        text = "".join(self._tokens[i] for i in token_ids if i != self._eos)
        return Step(text, tuple(token_ids), log_prob, token_ids[-1] == self._eos)

    def next_log_probs(
        self, prefix: Prefix, rows: Sequence[tuple[int, ...]], starts: Sequence[int], law: SamplingLaw
    ) -> list[Array]:
        return [
            np.stack([self._at(prefix, row[:j]) for j in range(start, len(row) + 1)])
            for row, start in zip(rows, starts, strict=True)
        ]

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        ends, steps = self.step_ends(law), []
        for candidate in range(n):
            chooser, log_prob, state = self._chooser(key, candidate), 0.0, START
            ids: tuple[int, ...] = ()
            while len(ids) < law.max_step_tokens and state != END:
                logs = self._at(prefix, ids)
                token = chooser.choose(logs)
                ids, log_prob, state = (*ids, token), log_prob + float(logs[token]), ends.after(state, token)
            steps.append(self.step_of(prefix, ids, log_prob))
        return steps

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        ends = self.step_ends(law)

        def log_prob(ids: tuple[int, ...]) -> float:
            if ends.beyond(ids):
                return -math.inf
            return float(sum(self._at(prefix, ids[:j])[token] for j, token in enumerate(ids)))

        return [Score(log_prob(step.token_ids)) for step in steps]

    def _at(self, prefix: Prefix, ids: tuple[int, ...]) -> Array:
        probabilities = self._table(prefix, ids)
        _check(
            {f"{i} {text}": p for i, (text, p) in enumerate(zip(self._tokens, probabilities, strict=True))}, self.name
        )
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.asarray(probabilities, dtype=np.float64)))


def _logs(table: Table) -> dict[str, float]:
    return {text: math.log(p) if p > 0.0 else -math.inf for text, p in table.items()}


def _check(table: Table, name: str) -> None:
    bad = {text: p for text, p in table.items() if not 0.0 <= p <= 1.0}
    if bad or not table or abs(math.fsum(table.values()) - 1.0) > 1e-9:
        raise ConfigError(f"table model {name!r}: probabilities must lie in [0, 1] and sum to 1, got {dict(table)}")
