"""What a service of `gsi serve` says: of itself, and in its answers, number by number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from sys import float_info
from typing import Any

from gsi_node.errors import BackendError, ConfigError, InvalidLogProb, SpecError
from gsi_node.models.servers.agreement import equal
from gsi_node.models.servers.dialect import token_id
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.tempered import ROUNDING
from gsi_node.types import WIRE, Step, Thinking

MINUS_INFINITY = "-inf"  # JSON has no −inf, and null would look like a missing number


@dataclass(frozen=True, slots=True)
class Health:
    """What a service says of itself: one model or one reward. range: the reward's; None for a model. prompt_date: the
    day that the model's prompts tell, if they do. thinking: how the model thinks, if it does. streams: whether it
    samples as events, too."""

    name: str
    role: str
    fingerprint: str
    vocabulary: str
    eos_ids: tuple[int, ...]
    thinking: Thinking | None
    range: tuple[float, float] | None
    prompt_date: str | None
    streams: bool

    def of(self, answer: Any) -> Mapping[str, Any]:
        """The answer, which must come from what was served at start-up: every answer carries its fingerprint."""
        found = answer.get("fingerprint")
        if found is None:
            raise Failed("its answer has no fingerprint", fix="Serve with this version of `gsi serve`", again=False)
        if found != self.fingerprint:
            raise Failed(
                f"{found!r:.80} answered for {self.fingerprint!r:.80}, another {self.role} than at start-up",
                fix="Serve one model at every address; begin a new run if this one is meant",
                again=False,
            )
        content: Mapping[str, Any] = answer
        return content


def health_of(transport: Transport, role: str) -> Health:
    """What the services serve: all of them the same. Raises BackendUnavailable where none can be reached, SpecError
    where they differ or serve something else."""

    async def look(one: Transport) -> Health:
        health = await one.ask("/health", None, _health, "asking what it serves")
        if health.role != role:
            raise SpecError(f"remote:{one.name} serves a {health.role} ({health.name}), but a {role} is asked for")
        return health

    def same(kept: Health, found: Health, url: str) -> None:
        for name in ("range", "eos_ids", "thinking", "vocabulary", "fingerprint"):
            here, there = getattr(found, name), getattr(kept, name)
            if here != there:
                raise SpecError(
                    f"remote:{url} serves {here!r:.100} as its {name}, and {transport.name} began with {there!r:.100}: "
                    "serve one model at every address; begin a new run if this one is meant"
                )

    return transport.wait(equal(transport, look, same))


def _health(answer: Any) -> Health:
    if answer == {"status": "ok"}:  # all that it tells whoever shows no key
        raise Failed(
            "it wants a key, and none was sent",
            ConfigError,
            fix="Set the environment variable GSI_API_KEY to the service's key (?api_key_env=NAME for another)",
            again=False,
        )
    if (found := answer.get("wire")) != WIRE:
        raise Failed(
            f"it speaks version {found or 1!r:.20} of the service's protocol, and this client version {WIRE}",
            SpecError,
            fix="Serve with this version of `gsi serve`",
            again=False,
        )
    name, role, fingerprint, vocabulary = (answer[key] for key in ("name", "role", "fingerprint", "vocabulary"))
    texts = (name, role, fingerprint, vocabulary)
    if not all(isinstance(text, str) and text.isprintable() for text in texts) or not fingerprint:
        raise Failed(f"it says that it serves {texts!r:.200}", fix="Is this a service of `gsi serve`?")
    low_high = answer["range"]
    ends = None if low_high is None else (number(low_high[0], ends=True), number(low_high[1], ends=True))
    if ends is not None and not ends[0] <= ends[1]:
        raise Failed(f"it says that its rewards lie in {ends}")
    if (ends is None) != (role != "reward"):
        raise Failed(f"it says that it serves a {role} with the range {low_high!r:.60}")
    day = answer.get("prompt_date")
    if day is not None and not (isinstance(day, str) and day.isprintable()):
        raise Failed(f"it says that its prompts tell the day {day!r:.60}")
    eos_ids = tuple(map(token_id, answer["eos_ids"]))
    return Health(*texts, eos_ids, _thinking(answer.get("thinking")), ends, day, answer.get("streams") is True)


def _thinking(found: Any) -> Thinking | None:
    if found is None:
        return None
    opens, closes, closing = token_id(found["open_id"]), token_id(found["close_id"]), found["closing"]
    if not isinstance(found["opened"], bool) or closes not in closing:
        raise Failed(f"it says that its model thinks as {found!r:.100}")
    return Thinking(opens, closes, found["opened"], tuple(map(token_id, closing)))


def read_step(found: Any, most: int, eos_ids: Collection[int]) -> Step:
    """A step of an answer: it has tokens, `most` at most, and goes on behind none of `eos_ids`; the log-probability of
    what was drawn is that of something possible."""
    text, finished, thought = read_text(found)
    ids = tuple(map(token_id, found["token_ids"]))
    if not ids:
        raise Failed(f"it returned a step of text {text!r:.40} with 0 tokens")
    if len(ids) > most:
        raise Failed(f"a step has {len(ids)} tokens where {most} were asked for at most")
    if inside := [i for i in ids[:-1] if i in eos_ids]:
        raise Failed(f"a step goes on after EOS {inside[0]}")
    if finished and ids[-1] not in eos_ids:
        raise Failed(f"a step is said to end the response, but its last token {ids[-1]} is no EOS")
    value, beyond = log_prob(found["log_prob"]), found["beyond"]
    if isinstance(beyond, bool) or not isinstance(beyond, int) or beyond < 0:
        raise Failed(f"it returned {beyond!r:.40} as the number of tokens beyond a step")
    if value == -inf:
        raise Failed("it drew a step that it gives probability zero", InvalidLogProb)
    error = bound(found["log_prob_error"])
    return Step(text, ids, value, finished, error, thought=thought, beyond=beyond)


def read_text(found: Any) -> tuple[str, bool, int]:
    """Of a step of an answer: its text, whether it ends the response, and how much of the text is thinking."""
    text, finished, thought = found["text"], found["finished"], found.get("thought", 0)
    if not isinstance(text, str) or not isinstance(finished, bool):
        raise Failed(f"it returned a step of text {text!r:.40}, finished {finished!r:.20}")
    if isinstance(thought, bool) or not isinstance(thought, int) or not 0 <= thought <= len(text):
        raise Failed(f"it returned a step of {len(text)} characters, {thought!r:.20} of them thinking")
    return text, finished, thought


def expect(found: Any, wanted: int) -> Any:
    if not isinstance(found, list) or len(found) != wanted:
        raise Failed(f"it returned {len(found)} results for {wanted}", BackendError)
    return found


def number(value: Any, *, ends: bool = False) -> float:
    """The number that a service wrote; ends: of a range, which may be infinite."""
    written = {MINUS_INFINITY: -inf, "inf": inf} if ends else {MINUS_INFINITY: -inf}
    if isinstance(value, str) and value in written:
        return written[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= float_info.max:  # NaN is not
        raise Failed(f"it returned {value!r:.60} where a number belongs", InvalidLogProb)
    return float(value)


def log_prob(value: Any) -> float:
    """A log-probability in nats: at most 0, or above it by what rounding explains, which is read as 0."""
    found = number(value)
    if found > ROUNDING:
        raise Failed(f"it returned {value!r:.60} as a log-probability", InvalidLogProb)
    return min(0.0, found)


def bound(value: Any) -> float:
    """A certified bound in nats: at least 0."""
    found = number(value)
    if not found >= 0.0:
        raise Failed(f"it returned {value!r:.60} as the bound of an error", InvalidLogProb)
    return found
