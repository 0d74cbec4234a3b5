"""What a chat model says of a run: its steps as they are committed, up to a stop string, and last what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from gsi_node.answer import last_boxed
from gsi_node.errors import ConfigError, shown
from gsi_node.graph.telling import summed_usage
from gsi_node.step.records import acceptance_rate, answering, lost_draft
from gsi_node.types import Plain


class Reply:
    """One chunk a committed step, of the states that a run goes through.

    Text that a stop string may begin with is held back, and comes with the next step. Once one is found, `stopped`: the
    text ends before it. Raises ConfigError for stop strings that are none.
    """

    def __init__(self, name: str, problem_id: str, stop: Sequence[str] | None) -> None:
        if isinstance(stop, str) or not all(stop or ()):
            raise ConfigError(f"stop: want a list of non-empty strings, got {shown(stop)}")
        self.stopped = False
        self._name = name
        self._problem_id = problem_id
        self._stop = tuple(stop or ())
        self._state: Mapping[str, Any] = {}
        self._said: list[Plain] = []  # the records whose text has been told, the last one cut where it was
        self._held = ""

    def chunks(self, state: Mapping[str, Any]) -> Iterator[ChatGenerationChunk]:
        """What is new in a state."""
        self._state = state
        records = state.get("steps") or []
        over = state.get("stop_reason") is not None
        for place in range(len(self._said), len(records)):
            if not self.stopped:
                yield self._chunk(records[place], over and place + 1 == len(records))

    def last(self) -> ChatGenerationChunk:
        """The empty chunk that ends the stream."""
        usage = self._state["usage"]
        about = {
            "problem_id": self._problem_id,
            "answer": last_boxed(answering(self._said)),
            "acceptance_rate": acceptance_rate(self._said),
            "stop_reason": "stop" if self.stopped else self._state["stop_reason"],
            "degraded": lost_draft(self._said),
            "usage": usage,
        }
        message = AIMessageChunk(
            content="",
            usage_metadata=summed_usage(usage),
            response_metadata={"model_name": self._name, "gsi": about},
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _chunk(self, record: Plain, final: bool) -> ChatGenerationChunk:
        """The text of a committed step, as far as it may be told."""
        text = self._held + record["text"]
        found = [(place + len(one), place) for one in self._stop if (place := text.find(one)) >= 0]
        if found:  # of several the one that is complete first, however the text is cut into steps
            self.stopped = True
            end = min(found)[1]
        else:
            end = len(text) if final else len(text) - _begun(text, self._stop)
        self._said.append({**record})
        text, self._held = text[:end], text[end:]
        if self.stopped:
            self._cut(len(self._held))
        return ChatGenerationChunk(message=AIMessageChunk(content=text))

    def _cut(self, characters: int) -> None:
        """Take so many characters off the end of the records."""
        for record in reversed(self._said):
            taken = min(characters, len(record["text"]))
            record["text"] = record["text"][: len(record["text"]) - taken]
            characters -= taken


def _begun(text: str, stop: Sequence[str]) -> int:
    """The length of the longest end of `text` that one of the strings begins with."""
    most = max((len(one) for one in stop), default=1) - 1
    lengths = range(min(most, len(text)), 0, -1)
    return next((length for length in lengths if any(one.startswith(text[-length:]) for one in stop)), 0)
