"""The client of `gsi serve` as a StepModel and a Reward: exact numbers, and the same keyed draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

from gsi_node.errors import LawMismatch, RewardOutOfRange
from gsi_node.models.servers.client import Client, ModelClient
from gsi_node.models.servers.dialect import token_id
from gsi_node.models.servers.health import bound, expect, health_of, log_prob, number, read_step, read_text
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

        eos_ids = {*self.eos_ids, *(law.eos_ids or ())}

        def read(answer: Any) -> list[Step]:
            return [
                read_step(step, law.max_step_tokens, eos_ids) for step in expect(self._health.of(answer)["steps"], n)
            ]

        what, entries = f"sampling {n} steps after {len(prefix.steps)}", n * law.max_step_tokens
        return await self.transport.ask("/sample", body, read, what, entries=entries)

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
