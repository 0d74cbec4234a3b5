"""The client of `gsi serve` as a StepModel and a Reward: exact numbers, and the same keyed draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

from gsi_node.errors import LawMismatch, RewardOutOfRange
from gsi_node.hearing import Hear, current_hear
from gsi_node.models.servers.client import Client, ModelClient
from gsi_node.models.servers.dialect import token_id
from gsi_node.models.servers.health import Health, bound, expect, health_of, log_prob, number, read_step, read_text
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.reach import USUAL, Reach
from gsi_node.models.servers.replica import Failed
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step, Thinking


class _Service(Client):
    """One or more equal services of one model or reward."""

    role: str

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.name = f"remote:{transport.name}"
        self._health = health_of(transport, self.role)

    @classmethod
    def connect(cls, urls: Sequence[str], reach: Reach = USUAL) -> Self:
        """The client of the services at `urls`. Raises BackendUnavailable, SpecError."""
        transport = Transport(urls, reach)
        try:
            return cls(transport)
        except BaseException:
            transport.close()
            raise

    @property
    def fingerprint(self) -> str:
        return self._health.fingerprint


@dataclass(frozen=True, slots=True)
class SampleReader:
    """What reads the steps of an answer."""

    health: Health
    n: int
    law: SamplingLaw
    eos_ids: frozenset[int]

    def steps(self, answer: Any) -> list[Step]:
        """All of them."""
        return list(map(self.step, expect(self.health.of(answer)["steps"], self.n)))

    def step(self, found: Any) -> Step:
        return read_step(found, self.law.max_step_tokens, self.eos_ids)


class SampleStream:
    """The steps of an answer that comes as events: of those that have ended, then of all."""

    def __init__(self, read: SampleReader, hear: Hear) -> None:
        self._read, self._hear = read, hear
        self._steps: list[Step] | None = None

    def more(self, event: Any) -> bool:
        """Take an event. The last is the whole answer, behind which the stream ends."""
        ended = self._read.health.of(event).get("ended")
        if ended is None:
            self._steps = self._read.steps(event)
        else:
            self._hear({place: partial(self._read.step, found) for place, found in ended})
        return False

    def result(self) -> list[Step]:
        """All steps. Failed where the events ended before them."""
        if self._steps is None:
            raise Failed("its stream ended before the answer", down=True)
        return self._steps


class RemoteModel(_Service, ModelClient):
    """π behind one or more equal services. The draws come from the run's own keyed streams, so a run in process and one
    over the wire give the same token ids."""

    role = "model"

    @property
    def vocabulary(self) -> str:
        return self._health.vocabulary

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return self._health.eos_ids

    @property
    def prompt_date(self) -> str | None:
        """The day that the served model's prompts tell."""
        return self._health.prompt_date

    @property
    def thinking(self) -> Thinking | None:
        return self._health.thinking

    def supports(self, law: SamplingLaw) -> None:
        """What the served model supports; LawMismatch with its words."""

        def read(answer: Any) -> str | None:
            refusal: Any = self._health.of(answer)["refusal"]
            if refusal is not None and not isinstance(refusal, str):
                raise Failed(f"it returned {refusal!r:.60} as a refusal")
            return refusal

        refusal = self.transport.wait(self.transport.ask("/supports", {"law": asdict(law)}, read, "asking for a law"))
        if refusal is not None:
            raise LawMismatch(f"{self.name}: {self.transport.shown(refusal, 600)}")

    def encode(self, text: str) -> tuple[int, ...]:
        def read(answer: Any) -> tuple[int, ...]:
            return tuple(map(token_id, self._health.of(answer)["token_ids"]))

        return self.transport.wait(
            self.transport.ask(
                "/encode", {"text": text}, read, f"encoding {len(text)} characters", entries=4 * len(text)
            )
        )

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        """The step of these token ids behind a prefix, as the served model reads them."""

        def read(answer: Any) -> Step:
            text, finished, thought = read_text(self._health.of(answer))
            return Step(text, tuple(token_ids), log_prob, finished, thought=thought)

        return self.transport.wait(
            self.transport.ask(
                "/decode",
                {"prefix": pack_prefix(prefix), "token_ids": list(token_ids)},
                read,
                f"decoding {len(token_ids)} tokens",
            )
        )

    async def _sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        body = {"prefix": pack_prefix(prefix), "n": n, "key": asdict(key), "law": asdict(law)}
        read = SampleReader(self._health, n, law, frozenset((*self.eos_ids, *(law.eos_ids or ()))))
        what, entries = f"sampling {n} steps after {len(prefix.steps)}", n * law.max_step_tokens
        if (hear := current_hear()) is None or not self._health.streams:
            return await self.transport.ask("/sample", body, read.steps, what, entries=entries)
        begin = partial(SampleStream, read, hear)
        return await self.transport.follow("/sample", {**body, "stream": True}, begin, what, entries=2 * entries)

    async def _score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        if not steps:
            return []
        body = {"prefix": pack_prefix(prefix), "steps": [pack_step(step) for step in steps], "law": asdict(law)}

        def read(answer: Any) -> list[Score]:
            scores = expect(self._health.of(answer)["scores"], len(steps))
            return [Score(log_prob(value), bound(error)) for value, error in scores]

        what = f"scoring {len(steps)} steps after {len(prefix.steps)}"
        return await self.transport.ask("/score", body, read, what, entries=len(steps))


class RemoteReward(_Service):
    """r behind one or more equal services."""

    role = "reward"

    @property
    def range(self) -> tuple[float, float]:
        assert self._health.range is not None
        return self._health.range

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return self.transport.wait(self._rewards(prefix, steps))

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return await self.transport.join(self._rewards(prefix, steps))

    async def _rewards(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if not steps:
            return []
        body = {"prefix": pack_prefix(prefix), "steps": [pack_step(step) for step in steps]}

        def read(answer: Any) -> list[float]:
            found = [number(value) for value in expect(self._health.of(answer)["rewards"], len(steps))]
            low, high = self.range
            if wrong := [value for value in found if not low <= value <= high]:
                raise Failed(f"it returned a reward of {wrong[0]}, outside of [{low}, {high}]", RewardOutOfRange)
            return found

        return await self.transport.ask("/reward", body, read, f"rewarding {len(steps)} steps", entries=len(steps))


def pack_prefix(prefix: Prefix) -> dict[str, Any]:
    """x as JSON."""
    steps, earlier = [pack_step(step) for step in prefix.steps], [turn._asdict() for turn in prefix.earlier]
    return {"problem": prefix.problem, "steps": steps, "earlier": earlier}


def pack_step(step: Step) -> dict[str, Any]:
    """y as JSON, without its numbers."""
    return {"text": step.text, "token_ids": list(step.token_ids), "finished": step.finished, "thought": step.thought}
