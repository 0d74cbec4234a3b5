"""What a chat model says of a run: its steps as they are committed, up to a stop string, and last what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from gsi_node.graph.telling import summed_usage
from gsi_node.graph.told import Told


class Reply:
    """One chunk a committed step, of the states that a run goes through; as far as a stop string lets it (Told)."""

    def __init__(self, name: str, problem_id: str, stop: Sequence[str] | None) -> None:
        self._told = Told(stop)
        self._name = name
        self._problem_id = problem_id
        self._state: Mapping[str, Any] = {}

    @property
    def stopped(self) -> bool:
        return self._told.stopped

    def chunks(self, state: Mapping[str, Any]) -> Iterator[ChatGenerationChunk]:
        """What is new in a state."""
        self._state = state
        records = state.get("steps") or []
        over = state.get("stop_reason") is not None
        for place in range(len(self._told.records), len(records)):
            if not self.stopped:
                text = self._told.step(records[place], over and place + 1 == len(records))
                yield ChatGenerationChunk(message=AIMessageChunk(content=text))

    def last(self) -> ChatGenerationChunk:
        """The empty chunk that ends the stream."""
        outcome = self._told.outcome(self._state)
        about = {name: value for name, value in outcome.items() if name not in ("response", "steps")}
        message = AIMessageChunk(
            content="",
            usage_metadata=summed_usage(outcome["usage"]),
            response_metadata={"model_name": self._name, "gsi": {"problem_id": self._problem_id, **about}},
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)
