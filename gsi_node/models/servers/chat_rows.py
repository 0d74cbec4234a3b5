"""What a chat endpoint says of one candidate, whole or event by event, cut at the step's END: by its bytes alone."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from gsi_node.ends import END, START, StepEnds
from gsi_node.models.servers.dialect import answers_for
from gsi_node.models.servers.replica import Failed
from gsi_node.text.counted import CountedText
from gsi_node.types import Ends

_LINES, _SPACES = re.compile(r"(?:[^\S\n]*\n)*"), re.compile(r"[^\S\n]*")


class Sent(NamedTuple):
    """An assistant turn to go on from. text: it without the blanks behind it, which templates trim and some APIs
    refuse. dropped: what an answer says anew of those blanks, at its beginning, and is no part of the step."""

    text: str
    dropped: re.Pattern[str]


def sent(response: str) -> Sent:
    """A response so far as it is sent. Blank lines at the beginning of a whole answer are dropped too."""
    text = response.rstrip()
    blanks = response[len(text) :]
    if not text or "\n" in blanks:
        return Sent(text, _LINES)
    return Sent(text, _SPACES if blanks else re.compile(""))


@lru_cache
def byte_ends(ends: Ends) -> StepEnds:
    """Where steps end, over bytes."""
    return StepEnds(ends, [bytes((byte,)) for byte in range(256)], ())


@dataclass(frozen=True, slots=True)
class ChatStep:
    """A step. finished: whether the answer came to its own end. beyond: what was sent, and is no part of it."""

    text: str
    finished: bool
    beyond: str


class ChatRow:
    """One candidate as it arrives. names: under which the model may answer. echo: what it says before it goes on.
    limit: of the step, in `counted`'s ids."""

    def __init__(
        self, names: Collection[str], so_far: Sent, ends: Ends, counted: CountedText, limit: int, *, echo: str = ""
    ) -> None:
        self._names, self._dropped, self._ends = names, so_far.dropped, byte_ends(ends)
        self._counted, self._limit, self._echo = counted, limit, echo
        self._held: str | None = ""  # what came before it begins
        self._text, self._thoughts = "", ""
        self._state, self._bytes = START, 0  # the automaton behind so many bytes
        self._ended: str | None = None

    def more(self, event: Any) -> bool:
        """Take an event, or a whole answer; whether a stream may be left."""
        answers_for(event, self._names)
        if not event["choices"]:  # of usage alone
            return False
        (choice,) = event["choices"]
        said = choice["delta"] if "delta" in choice else choice["message"]
        self._thoughts += said.get("reasoning_content") or said.get("reasoning") or ""
        self._ended = choice.get("finish_reason")
        self._say(said.get("content") or "")
        if self._ended == "stop" and isinstance(at := choice.get("stop_reason"), str):
            raise Failed(
                f"an answer ended at the string {at!r:.80}, which no request names",
                fix="Take that stop string out of the server's settings, or out of those of a proxy before it",
                again=False,
            )
        over = self._state == END or self._counted.reached(self._text, self._limit)
        return self._ended is None and over

    def result(self) -> ChatStep:
        """The step of all events. Failed where they broke off, or hold none."""
        over = self._state == END
        text = self._text.encode()[: self._bytes].decode() if over else self._text
        text = self._counted.most(text, self._limit)
        beyond = self._text[len(text) :] + self._thoughts
        if over or len(text) < len(self._text) or self._counted.reached(text, self._limit):
            return ChatStep(text, False, beyond)
        if self._ended is None:
            raise Failed("an answer broke off: it has no finish_reason")
        if self._ended not in ("stop", "length"):
            raise Failed(f"an answer was ended by {self._ended!r:.40}", fix="Change what is asked", again=False)
        if not text and self._ended == "length":
            raise Failed(
                f"an answer of {self._limit} tokens has no text"
                + (", and was spent on thinking" if self._thoughts else ""),
                fix="Raise max_step_tokens, or have the model not think (?enable_thinking=false)",
                again=False,
            )
        return ChatStep(text, self._ended == "stop", beyond)

    def _say(self, piece: str) -> None:
        """Add a piece, without the echo and the blanks before the step, and go on with the automaton."""
        if self._held is not None:
            self._held += piece
            if not self._held.startswith(self._echo):
                if self._echo.startswith(self._held) and self._ended is None:
                    return
                raise Failed("an answer does not begin with the turn that it goes on from, as others of it do")
            piece = self._held[len(self._echo) :]
            if not piece.strip() and self._ended is None:
                return
            found = self._dropped.match(piece)
            piece, self._held = piece[found.end() if found else 0 :], None
        self._text += piece
        for byte in piece.encode():
            if self._state == END:
                break
            self._state, self._bytes = self._ends.after(self._state, byte), self._bytes + 1
