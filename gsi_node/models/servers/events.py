"""Server-sent events (WHATWG HTML, §9.2) in a body that arrives in pieces: what vLLM and SGLang stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from gsi_node.models.servers.answers import WORDS, read_json, words_of
from gsi_node.models.servers.replica import Failed

T_co = TypeVar("T_co", covariant=True)
_DONE = b"[DONE]"


class EventReader(Protocol[T_co]):
    """What reads a stream. more: take an event, and say whether no further one is wanted."""

    def more(self, event: Any) -> bool: ...
    def result(self) -> T_co: ...


class EventStream(Generic[T_co]):
    """One attempt to read a stream. refused: an error's status and words as a Failed. shaped: calls what reads, and
    makes a Failed of whatever it raises."""

    def __init__(
        self,
        reader: EventReader[T_co],
        refused: Callable[[tuple[int, str]], Failed],
        shaped: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._reader, self._refused, self._shaped = reader, refused, shaped
        self._count = 0
        self._rest: list[bytes] = []

    async def take(self, piece: bytes) -> bool:
        """Read the events that end in this piece, many bytes in a thread; whether no further one is wanted."""
        whole, end, rest = piece.rpartition(b"\n")
        if not end:
            self._rest.append(piece)
            return False
        lines, self._rest = b"".join((*self._rest, whole)), [rest]
        read = partial(self._shaped, partial(self._read, lines))
        return bool(read() if len(lines) < WORDS else await asyncio.to_thread(read))

    def result(self) -> T_co:
        """What the reader made of all events. Raises Failed."""
        if not self._count:
            raise Failed(
                "no event came where a stream was asked for",
                fix="Let the server stream (it is asked with stream=true), or choose a step_end that one token says",
                again=False,
            )
        result: T_co = self._shaped(self._reader.result)
        return result

    def _read(self, lines: bytes) -> bool:
        for event in _events(lines):
            self._count += 1
            if "error" in event:
                code = event["error"].get("code")
                raise self._refused((code if isinstance(code, int) else 500, words_of(event)))
            if self._reader.more(event):
                return True
        return False


def _events(lines: bytes) -> Iterator[Any]:
    """The JSON values of the events, each of which is one line of data. Raises Illegible."""
    for line in lines.split(b"\n"):
        data = line[5:].strip()
        if line.startswith(b"data:") and data and data != _DONE:
            yield read_json(data, "", len(data))
