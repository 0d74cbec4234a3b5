"""What may be told of a run's committed steps: their text up to the first of some stop strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gsi_node.answer import last_boxed
from gsi_node.errors import ConfigError, shown
from gsi_node.step.records import acceptance_rate, answering, lost_draft
from gsi_node.types import Plain


class Told:
    """The steps of one run, one after the other. Text that a stop string may begin with is `held` back, and comes with
    the next step. Once one is found, `stopped`: the text ends before it. Of several, the one that is complete first
    counts. Raises ConfigError for stop strings that are none."""

    def __init__(self, stop: Sequence[str] | None) -> None:
        if isinstance(stop, str) or not all(stop or ()):
            raise ConfigError(f"stop: want a list of non-empty strings, got {shown(stop)}")
        self.stopped = False
        self.held = ""
        self.records: list[Plain] = []  # those whose text has been told, the last one cut where it was
        self._stop = tuple(stop or ())

    def step(self, record: Plain, final: bool = False) -> str:
        """The text of a committed step, as far as it may be told. final: no step follows it."""
        text: str = self.held + record["text"]
        found = [(place + len(one), place) for one in self._stop if (place := text.find(one)) >= 0]
        if found:  # of several the one that is complete first, however the text is cut into steps
            self.stopped = True
            end = min(found)[1]
        else:
            end = len(text) if final else len(text) - _begun(text, self._stop)
        self.records.append({**record})
        if self.stopped:
            self._cut(len(text) - end)
        self.held = "" if self.stopped else text[end:]
        return text[:end]

    def outcome(self, state: Mapping[str, Any]) -> Plain:
        """The result of the run, whose state this is, as far as it was told."""
        return {
            "response": "".join(record["text"] for record in self.records),
            "answer": last_boxed(answering(self.records)),
            "acceptance_rate": acceptance_rate(self.records),
            "stop_reason": "stop" if self.stopped else state["stop_reason"],
            "degraded": lost_draft(self.records),
            "steps": self.records,
            "usage": state["usage"],
        }

    def _cut(self, characters: int) -> None:
        """Take so many characters off the end of the records."""
        for record in reversed(self.records):
            taken = min(characters, len(record["text"]))
            record["text"] = record["text"][: len(record["text"]) - taken]
            characters -= taken


def _begun(text: str, stop: Sequence[str]) -> int:
    """The length of the longest end of `text` that one of the strings begins with."""
    most = max((len(one) for one in stop), default=1) - 1
    lengths = range(min(most, len(text)), 0, -1)
    return next((length for length in lengths if any(one.startswith(text[-length:]) for one in stop)), 0)
