"""The client of `python -m gsi_node.serve` as a StepModel and as a Reward: exact numbers, and the same keyed draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite, isnan
from typing import Any

from gsi_node.errors import BackendError, InvalidLogProb, LawMismatch, SpecError
from gsi_node.models.http import Failed, Patience, Transport
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step

MINUS_INFINITY = "-inf"  # JSON has no −inf, and null would look like a missing number


@dataclass(frozen=True, slots=True)
class Health:
    """What a service says of itself: one model or one reward. range: the reward's; None for a model."""

    name: str
    role: str
    fingerprint: str
    vocabulary: str
    stop_ids: tuple[int, ...]
    range: tuple[float, float] | None


class RemoteModel:
    """π behind one or more equal services. The draws come from the run's own keyed streams, so a run in process and one
    over the wire give the same token ids."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.name = f"remote:{transport.name}"
        self._health = _reach(transport, "model")

    @property
    def vocabulary(self) -> str:
        return self._health.vocabulary

    @property
    def fingerprint(self) -> str:
        return self._health.fingerprint

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return self._health.stop_ids

    def supports(self, law: SamplingLaw) -> None:
        """What the served model supports; LawMismatch with its words."""
        refusal = self.transport.wait(
            self.transport.ask("/supports", {"law": asdict(law)}, lambda answer: answer["refusal"], "asking for a law")
        )
        if refusal is not None:
            raise LawMismatch(f"{self.name}: {refusal}")

    def encode(self, text: str) -> tuple[int, ...]:
        def read(answer: Any) -> tuple[int, ...]:
            return tuple(map(int, answer["token_ids"]))

        return self.transport.wait(
            self.transport.ask("/encode", {"text": text}, read, f"encoding {len(text)} characters")
        )

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return self.transport.wait(self._sample(prefix, n, key, law))

    async def asample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return await self.transport.join(self._sample(prefix, n, key, law))

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return self.transport.wait(self._score(prefix, steps, law))

    async def ascore(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return await self.transport.join(self._score(prefix, steps, law))

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    async def _sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        body = {"prefix": pack_prefix(prefix), "n": n, "key": asdict(key), "law": asdict(law)}

        def read(answer: Any) -> list[Step]:
            return [
                Step(str(s["text"]), tuple(map(int, s["token_ids"])), _number(s["log_prob"]), s["finished"] is True)
                for s in _expect(answer["steps"], n)
            ]

        return await self.transport.ask("/sample", body, read, f"sampling {n} steps after {len(prefix.steps)}")

    async def _score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        if not steps:
            return []
        body = {"prefix": pack_prefix(prefix), "steps": [pack_step(step) for step in steps], "law": asdict(law)}

        def read(answer: Any) -> list[Score]:
            return [Score(_number(lp), _number(error)) for lp, error in _expect(answer["scores"], len(steps))]

        return await self.transport.ask("/score", body, read, f"scoring {len(steps)} steps after {len(prefix.steps)}")


class RemoteReward:
    """r behind one or more equal services."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.name = f"remote:{transport.name}"
        self._health = _reach(transport, "reward")

    @property
    def range(self) -> tuple[float, float]:
        assert self._health.range is not None
        return self._health.range

    @property
    def fingerprint(self) -> str:
        return self._health.fingerprint

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return self.transport.wait(self._rewards(prefix, steps))

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return await self.transport.join(self._rewards(prefix, steps))

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    async def _rewards(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if not steps:
            return []
        body = {"prefix": pack_prefix(prefix), "steps": [pack_step(step) for step in steps]}

        def read(answer: Any) -> list[float]:
            return [_number(value) for value in _expect(answer["rewards"], len(steps))]

        return await self.transport.ask("/reward", body, read, f"rewarding {len(steps)} steps")


def connect_remote(
    role: str, urls: Sequence[str], *, timeout: float = 120.0, attempts: int = 9, api_key_env: str = "GSI_API_KEY"
) -> RemoteModel | RemoteReward:
    """The client of services that serve a "model" or a "reward"."""
    transport = Transport(urls, patience=Patience(timeout=timeout, attempts=attempts), api_key_env=api_key_env)
    try:
        return RemoteModel(transport) if role == "model" else RemoteReward(transport)
    except BaseException:
        transport.close()
        raise


def pack_prefix(prefix: Prefix) -> dict[str, Any]:
    """x as JSON."""
    return {"problem": prefix.problem, "steps": [pack_step(step) for step in prefix.steps]}


def pack_step(step: Step) -> dict[str, Any]:
    """y as JSON, without its numbers."""
    return {"text": step.text, "token_ids": list(step.token_ids), "finished": step.finished}


def _reach(transport: Transport, role: str) -> Health:
    def read(answer: Mapping[str, Any]) -> Health:
        low_high = answer["range"]
        return Health(
            str(answer["name"]),
            str(answer["role"]),
            str(answer["fingerprint"]),
            str(answer["vocabulary"]),
            tuple(map(int, answer["stop_ids"])),
            None if low_high is None else (float(low_high[0]), float(low_high[1])),
        )

    async def every() -> list[Health]:
        found = []
        for _ in transport.replicas:  # the least busy, and of equals the first: so they are asked one by one
            found.append(await transport.ask("/health", None, read, "asking what it serves"))
        return found

    health = transport.wait(every())[0]
    if health.role != role:
        raise SpecError(f"remote:{transport.name} serves a {health.role} ({health.name}), but a {role} is asked for")
    return health


def _expect(found: Any, wanted: int) -> Any:
    if not isinstance(found, list) or len(found) != wanted:
        raise Failed(f"it returned {len(found)} results for {wanted}", BackendError)
    return found


def _number(value: Any) -> float:
    if value == MINUS_INFINITY:
        return -inf
    if not isinstance(value, int | float) or isnan(value) or not isfinite(value):
        raise Failed(f"it returned {value!r} where a number belongs", InvalidLogProb)
    return float(value)
