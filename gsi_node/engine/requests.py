"""What is asked of an engine: `Feed` (run given rows and read the outputs), `Draw` (sample rows). Each has a future.

A request is cut into parts of at most WIDTH rows, the units that forwards are made of; it is done when all its parts
are. A request that was cancelled, or whose caller stopped waiting, is `gone`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gsi_node.cancel import current_flag
from gsi_node.core.rng import Stream
from gsi_node.errors import BackendError, Cancelled
from gsi_node.types import Ids, Key, SamplingLaw

WIDTH = 16
"""Rows a part may have."""


class Request(ABC):
    """alone: shares no forward, after one that it was part of has failed."""

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.future: Future[Any] = Future()
        self.alone = self.left = False
        self._flag = current_flag()

    @property
    def gone(self) -> bool:
        """Whether there is nothing to do for it any more; a cancelled one is told so."""
        if not self.future.done() and (self.left or (self._flag is not None and self._flag.is_set())):
            self.fail(Cancelled("the run that asked for this generation was cancelled"))
        return self.future.done()

    @abstractmethod
    def parts(self) -> Iterator[Part]:
        """The rows, WIDTH at most together."""

    def fail(self, error: BaseException) -> None:
        """Hand an error to the caller."""
        if not self.future.done():
            if isinstance(error, torch.OutOfMemoryError):
                told = BackendError(f"out of memory with one row behind a prefix of {len(self.ids)} tokens: {error}")
                told.__cause__ = error
                error = told
            self.future.set_exception(error)

    def result(self) -> Any:
        """Wait for the result; a caller that stops waiting (an interrupt) takes the request with it."""
        try:
            return self.future.result()
        finally:
            self.left = True


class Feed(Request):
    """Run each row after the context ids[:-1]; row = (x_P, continuation…). Result None.

    read(logits (b, L, labels), which): called for rows `which`, by the engine's thread; perhaps again for some.
    spare: tokens at the end of a row that the next context will not have. most: positions (rows × longest row) of one
    forward, None for any.
    """

    def __init__(
        self, ids: Ids, rows: Sequence[Ids], read: Callable[[Tensor, range], None], spare: int, most: int | None
    ) -> None:
        super().__init__(ids)
        self.rows, self.read, self.spare, self.most = rows, read, spare, most
        self.waiting = len(rows)

    def parts(self) -> Iterator[Part]:
        longest = max(map(len, self.rows))
        size = WIDTH if self.most is None else max(1, min(WIDTH, self.most // longest))
        return _cut(self, len(self.rows), size)

    def seen(self, part: Part) -> None:
        """A part was read."""
        self.waiting -= len(part.which)
        if not self.waiting and not self.future.done():
            self.future.set_result(None)


class Draw(Request):
    """n rows of at most `limit` tokens from the law's softmax over `size` ids; a row ends with an id of `stops`.

    The result is a list of n pairs: ids, and their log-probabilities in nats. Row i draws from Stream(key, i) only.
    """

    def __init__(
        self, ids: Ids, n: int, key: Key, law: SamplingLaw, *, limit: int, stops: frozenset[int], size: int
    ) -> None:
        super().__init__(ids)
        self.n, self.key, self.law, self.limit, self.stops, self.size = n, key, law, limit, stops, size
        self.drawn: dict[int, tuple[list[int], list[float]]] = {}

    def parts(self) -> Iterator[Part]:
        return _cut(self, self.n, WIDTH)

    def streams(self, part: Part) -> list[Stream]:
        """The streams of a part's rows, at their beginning."""
        return [Stream(self.key, candidate) for candidate in part.which]

    def ended(self, candidate: int, ids: list[int], values: list[float]) -> None:
        """A row is complete."""
        self.drawn[candidate] = (ids, values)
        if len(self.drawn) == self.n and not self.future.done():
            self.future.set_result([self.drawn[i] for i in range(self.n)])


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows `which` of a request: at most WIDTH."""

    request: Any
    which: range

    def halves(self) -> list[Part]:
        """Two parts of half the rows; itself if it has one row."""
        return list(_cut(self.request, self.which.stop, (len(self.which) + 1) // 2, self.which.start))


def _cut(request: Request, stop: int, size: int, start: int = 0) -> Iterator[Part]:
    return (Part(request, range(first, min(first + size, stop))) for first in range(start, stop, size))
