"""Rows that a server drew, each cut at the END of its step: of a whole answer, or of a stream that is left there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gsi_node.ends import END, START, StepEnds
from gsi_node.models.servers.dialect import Dialect, Drawn, DrawRequest
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.tempered import TopK


@dataclass(frozen=True, slots=True)
class CutRow:
    """The tokens of a step. beyond: how many the server sent behind its END."""

    tokens: list[TopK]
    beyond: int = 0


def cut(drawn: Drawn, limit: int, ends: StepEnds) -> CutRow:
    """The row up to its first END: what a server drew behind it is of the same law. Failed where it ends before one,
    and has fewer tokens than `limit`."""
    tokens = drawn.tokens
    if len(tokens) > limit:
        raise Failed(f"a step has {len(tokens)} tokens where {limit} were asked for at most")
    length = ends.length(token.id for token in tokens)
    if length is not None:
        return CutRow(tokens[:length], len(tokens) - length)
    if drawn.at is not None:
        raise Failed(
            f"a step ended at the string {drawn.at!r:.80}, which no request names",
            fix="Take that stop string out of the server's settings, or out of those of a proxy before it",
            again=False,
        )
    if drawn.ended == "stop":
        last = tokens[-1].id if tokens else None
        raise Failed(
            f"a step ended at token {last}, which is no step end of this run, or its end token was left out",
            fix="Give ?tokenizer=FOLDER with the served model's tokenizer and generation_config.json",
            again=False,
        )
    if len(tokens) == limit:
        return CutRow(tokens)
    if drawn.ended == "length":
        raise Failed(
            f"a step was cut after {len(tokens)} of {limit} tokens without a step end: a cap of the server's own",
            fix="Raise its cap on generated tokens or its context, or lower max_step_tokens",
            again=False,
        )
    raise Failed(f"a step ended after {len(tokens)} of {limit} tokens without a step end ({drawn.ended!r:.40})")


class RowStream:
    """One row as it arrives, event by event."""

    def __init__(self, dialect: Dialect, names: Collection[str], row: DrawRequest, ends: StepEnds) -> None:
        self._dialect, self._names, self._row, self._ends = dialect, names, row, ends
        self._drawn = Drawn([], None)
        self._state, self._seen = START, 0  # where the step stands behind so many tokens

    def more(self, event: Any) -> bool:
        """Take an event; whether the stream may be left. One that says it ends is read to its end, which is near: its
        connection is kept then."""
        self._drawn = self._dialect.read_event(event, self._names, self._row, self._drawn)
        for token in self._drawn.tokens[self._seen :]:
            self._seen += 1
            if self._state != END:
                self._state = self._ends.after(self._state, token.id)
        return self._drawn.ended is None and self._state == END

    def result(self) -> CutRow:
        """The row of all events. Failed where they ended in the middle of it."""
        return cut(self._drawn, self._row.limit, self._ends)
