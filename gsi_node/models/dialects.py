"""What a kind of server is asked, and how its answers are read: vllm.py and sglang.py. Token ids throughout.

Every sampling parameter is set in every request: servers otherwise apply the model's generation_config.json.
A `read…` raises Failed for an answer that must not be used; shape errors become Failed in http.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, Protocol

from gsi_node.errors import InvalidLogProb, LawMismatch
from gsi_node.models.http import Failed
from gsi_node.models.tempered import Token

Ids = tuple[int, ...]
_NEVER = -9999.0  # servers write this for −inf, which JSON cannot
_POSITIVE = 1e-3  # nats that rounding may put above log 1


@dataclass(frozen=True, slots=True)
class Draw:
    """What to sample: n continuations of `ids` under raw softmax(logits / temperature), candidate i from seeds[i].

    k: how many of the most likely tokens to list at each position.
    """

    ids: Ids
    seeds: Sequence[int]
    temperature: float
    limit: int
    stops: Ids
    k: int


@dataclass(frozen=True, slots=True)
class About:
    """What a server says of itself. models: served names; context: tokens, None where it does not say; folder: where
    its tokenizer lies; returns_ids is settled by the probe."""

    models: tuple[str, ...]
    context: int | None
    folder: str | None


class Dialect(Protocol):
    """One kind of server. `tokenize` is its path for encoding text; None where it has none."""

    kind: str
    about_path: str
    path: str
    spare: int

    def about(self, answer: Any, model: str) -> About: ...
    def sampling(self, model: str, draw: Draw) -> Any: ...
    def read_samples(self, answer: Any, model: str, draw: Draw) -> list[tuple[list[Token], bool]]: ...
    def scoring(self, model: str, ids: Ids, rows: Sequence[Ids], k: int) -> Any: ...
    def read_scores(self, answer: Any, model: str, ids: Ids, rows: Sequence[Ids]) -> list[list[Token]]: ...


def number(value: Any) -> float:
    """The log-probability in nats that a server wrote; Failed for what is none."""
    if not isinstance(value, int | float) or isnan(value) or value > _POSITIVE:
        raise Failed(
            f"it returned {value!r} as a log-probability", InvalidLogProb, fix="Try another dtype on the server"
        )
    return -inf if value <= _NEVER else float(value)


def tokens_of(ids: Sequence[int], listed: Sequence[dict[int, float]]) -> list[Token]:
    for i, known in zip(ids, listed, strict=True):
        if i not in known:
            raise Failed(f"it returned no log-probability of token {i}", InvalidLogProb)
    return [Token(i, known) for i, known in zip(ids, listed, strict=True)]


def no_scores(problem: str) -> Failed:
    """The server cannot score given tokens."""
    return Failed(
        f"this server cannot score given steps: {problem}",
        LawMismatch,
        fix="llama.cpp-type servers never can. Score with vLLM, SGLang, or gsi_node.serve (remote:…)",
        again=False,
    )
