"""What a run says in OpenAI's words: one chunk a step, and the whole. Its numbers stand in choices[0].gsi."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import dumps
from typing import Any
from uuid import uuid4

from gsi_node.host.strict_json import finite
from gsi_node.types import Plain

FINISHED = ("eos", "answer", "stop")  # stop reasons of a response that came to its end; the others cut it short
SUMMARY = ("answer", "acceptance_rate", "stop_reason", "degraded")
DONE = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer under way. model: the name it was asked by."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def first(self) -> Plain:
        return self._chunk({"role": "assistant", "content": ""})

    def step(self, record: Plain) -> Plain:
        return self._chunk({"content": record["text"]}, without_ids(record))

    def last(self, outcome: Plain, held: str) -> Plain:
        """held: text that a stop string could have begun with, and did not."""
        return self._chunk({"content": held} if held else {}, summary(outcome), finish_reason(outcome))

    def usage(self, outcome: Plain) -> Plain:
        return {**self._about("chat.completion.chunk"), "choices": [], "usage": usage(outcome)}

    def whole(self, outcome: Plain) -> Plain:
        """The answer of a request that does not stream."""
        message = {"role": "assistant", "content": outcome["response"], "refusal": None}
        steps = [without_ids(record) for record in outcome["steps"]]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish_reason(outcome),
            "gsi": {**summary(outcome), "steps": steps},
        }
        return {**self._about("chat.completion"), "choices": [choice], "usage": usage(outcome)}

    def _chunk(self, delta: Plain, gsi: Plain | None = None, finish: str | None = None) -> Plain:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        if gsi is not None:
            choice["gsi"] = gsi
        return {**self._about("chat.completion.chunk"), "choices": [choice]}

    def _about(self, kind: str) -> Plain:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def event(value: Plain) -> str:
    """A server-sent event of strict JSON."""
    return f"data: {dumps(finite(value), allow_nan=False)}\n\n"


def finish_reason(outcome: Plain) -> str:
    return "stop" if outcome["stop_reason"] in FINISHED else "length"


def summary(outcome: Plain) -> Plain:
    return {**{name: outcome[name] for name in SUMMARY}, "usage": outcome["usage"]}


def usage(outcome: Plain) -> Plain:
    """Tokens read (scored, by base and reward) and written (generated, all candidates), of all models together."""
    bills: Sequence[Mapping[str, Any]] = list(outcome["usage"].values())
    read, written = (sum(bill[f"{what}_tokens"] for bill in bills) for what in ("scored", "generated"))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def without_ids(value: Any) -> Any:
    """A step record without token ids, its own and those of the candidates in it."""
    if isinstance(value, dict):
        return {name: without_ids(item) for name, item in value.items() if name != "token_ids"}
    return [without_ids(item) for item in value] if isinstance(value, list) else value
