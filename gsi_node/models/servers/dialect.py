"""What a kind of server is asked, and how its answers are read (vllm.py, sglang.py). Token ids throughout.

Every sampling parameter is set in every request: servers otherwise apply the model's generation_config.json.
A `read…` raises Failed for an answer that must not be used, one that contradicts itself or the request among them;
shape errors become Failed in http.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple, Protocol

from gsi_node.errors import InvalidLogProb, LawMismatch, SpecError
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.tempered import ROUNDING, TopK
from gsi_node.types import Ids

NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "stop": None,
    "ignore_eos": False,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}
"""The plain softmax: parameters that every kind of server knows."""
_NEVER = -9999.0  # servers write this for −inf, which JSON cannot
_LARGEST = 1 << 31
_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """What to sample: n continuations of `ids` under raw softmax(logits / temperature), candidate i from seeds[i].

    k: how many of the most likely tokens to list at each position. past_eos: whether the model's own EOS ends nothing.
    """

    ids: Ids
    seeds: Sequence[int]
    temperature: float
    limit: int
    stops: Ids
    k: int
    past_eos: bool = False


class Drawn(NamedTuple):
    """A row as a server drew it. ended: why no more comes ("stop", "length", another word of the server's), None while
    it goes on. at: the string that it says it stopped at, None where that was a token."""

    tokens: list[TopK]
    ended: str | None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A model as a server lists it. context: tokens, None where it does not say; folder: where it says the weights
    lie, and where its tokenizer may be; parent: what it is an adapter of."""

    name: str
    context: int | None
    folder: str | None
    parent: str | None = None


class Dialect(Protocol):
    """One kind of server. kind: how a spec of it begins; example: such a spec. about_paths: where it says what it
    serves, the newest first. named: whether requests and answers carry the model's name. spare: tokens of the context
    that scoring needs beside those given. by_ids: whether it may score by ids, too (by_ids.py). names: under which
    answers may come.

    rows: a request's rows one by one, each of which draws what it draws among them. read_event: such a row after an
    event of its stream, of which `drawn` was known before.
    """

    kind: str
    example: str
    named: bool
    about_paths: tuple[str, ...]
    path: str
    spare: int
    by_ids: bool

    def about(self, answer: Any) -> tuple[Card, ...]: ...
    def sampling(self, model: str, draw: DrawRequest) -> Any: ...
    def read_samples(self, answer: Any, names: Collection[str], draw: DrawRequest) -> list[Drawn]: ...
    def rows(self, draw: DrawRequest) -> list[DrawRequest]: ...
    def read_event(self, event: Any, names: Collection[str], row: DrawRequest, drawn: Drawn) -> Drawn: ...
    def scoring(self, model: str, ids: Ids, rows: Sequence[Ids], k: int) -> Any: ...
    def read_scores(self, answer: Any, names: Collection[str], ids: Ids, rows: Sequence[Ids]) -> list[list[TopK]]: ...


def number(value: Any) -> float:
    """The log-probability in nats that a server wrote; Failed for what is none.

    A sum of float32 exponentials may put it above log 1 = 0, by ROUNDING = 1e-5 at most: that is read as 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value > ROUNDING:
        raise Failed(
            f"it returned {value!r:.60} as a log-probability", InvalidLogProb, fix="Try another dtype on the server"
        )
    return -inf if value <= _NEVER else min(0.0, float(value))


def token_id(value: Any) -> int:
    """The token id that a server wrote as a number; Failed for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
        raise Failed(f"it returned {value!r:.60} as a token id")
    return value


def written_id(name: Any, before: str = "") -> int | None:
    """The token id in a text such as "123", or "token_id:123" with before="token_id:"; None where it holds none."""
    if not isinstance(name, str) or not name.startswith(before) or not _DIGITS.fullmatch(digits := name[len(before) :]):
        return None
    return token_id(int(digits))


def listing(entries: Iterable[tuple[int, float]]) -> dict[int, float]:
    """The log-probabilities at one position, in nats by id; Failed where two of one id differ by more than ROUNDING."""
    found: dict[int, float] = {}
    for i, value in entries:
        if abs(found.get(i, value) - value) > ROUNDING:  # two −inf differ by NaN, which is not more
            raise Failed(f"it gives token {i} two log-probabilities, {found[i]} and {value}", InvalidLogProb)
        found[i] = value
    return found


def tokens_of(ids: Sequence[int], listed: Sequence[dict[int, float]]) -> list[TopK]:
    """The tokens at hand with what is listed at their places; Failed where one is not listed."""
    for i, known in zip(ids, listed, strict=True):
        if i not in known:
            raise Failed(f"it returned no log-probability of token {i}", InvalidLogProb)
    return [TopK(i, known) for i, known in zip(ids, listed, strict=True)]


def agree(what: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    """Failed where a list of ids in an answer is not the one it must be."""
    if len(found) != len(wanted):
        raise Failed(f"it contradicts itself: {what} has {len(found)} ids, not {len(wanted)}", again=False)
    for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one != other:
            raise Failed(f"it contradicts itself: {what} has id {one!r:.20}, not {other}, at {place}", again=False)


def answers_for(answer: Any, names: Collection[str]) -> None:
    """Failed where an answer names another model than those that it may come from."""
    named = answer.get("model")
    if isinstance(named, str) and named not in names:
        raise Failed(
            f"model {named!r:.80} answered for {' or '.join(map(repr, sorted(names)))}",
            SpecError,
            fix="Name the served model in the spec",
            again=False,
        )


def no_scores(problem: str) -> Failed:
    """The server cannot score given tokens."""
    return Failed(
        f"this server cannot score given steps: {problem}",
        LawMismatch,
        fix="llama.cpp-type servers never can. Score with vLLM, SGLang, or `gsi serve` (remote:…)",
        again=False,
    )
