"""What is asked of an engine: to run given rows and read the outputs, or to sample rows. Each request has a future.

A request is cut into parts, the units that forwards are made of: given rows by WIDTH, rows to be sampled where not all
fit into memory together. It is done when all its parts are. A request that was cancelled, or whose caller stopped
waiting, is `gone`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from gsi_node.cancel import current_flag
from gsi_node.core.rng import Stream
from gsi_node.ends import StepEnds
from gsi_node.engine.row import SampledRow
from gsi_node.errors import BackendError, Cancelled
from gsi_node.types import Ids, Key, SamplingLaw

WIDTH = 16
"""Given rows that a part may have; rows to be sampled are not cut below it for want of memory foreseen."""
ResultT = TypeVar("ResultT")
RequestT = TypeVar("RequestT", "FeedRequest", "SampleRequest")
DrawnRow: TypeAlias = tuple[list[int], list[float]]
"""A row's token ids, and the log-probability of each in nats."""
DrawnRows: TypeAlias = list[DrawnRow]
HearRows: TypeAlias = Callable[[Mapping[int, DrawnRow]], None]
AnyRequest: TypeAlias = "FeedRequest | SampleRequest"


class Request(Generic[ResultT]):
    """ids: the prefix x_1..x_P. drawn: tokens of its rows that were given up. alone: shares no forward, after one that
    it was part of has failed."""

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.future: Future[ResultT] = Future()
        self.alone = self.left = False
        self.drawn = 0
        self._flag = current_flag()

    @property
    def given_up(self) -> bool:
        """Whether nobody wants it any more."""
        return self.left or (self._flag is not None and self._flag.is_set())

    @property
    def gone(self) -> bool:
        """Whether there is nothing to do for it any more; a cancelled one is told so."""
        self.tell()
        return self.future.done()

    def tell(self) -> None:
        """Tell a cancelled one that it is."""
        if not self.future.done() and self.given_up:
            self.fail(Cancelled("the run that asked for this generation was cancelled", self.drawn))

    def fail(self, error: BaseException) -> None:
        """Hand an error to the caller."""
        if not self.future.done():
            if isinstance(error, torch.OutOfMemoryError):
                told = BackendError(f"out of memory with one row behind a prefix of {len(self.ids)} tokens: {error}")
                told.__cause__ = error
                error = told
            self.future.set_exception(error)

    def result(self) -> ResultT:
        """Wait for the result; a caller that stops waiting (an interrupt) takes the request with it."""
        try:
            return self.future.result()
        finally:
            self.left = True


class FeedRequest(Request[None]):
    """Run each row after the context ids[:-1]; row = (x_P, continuation…).

    read(logits (b, L, labels), which): called for rows `which`, by the engine's thread; perhaps again for some.
    spare: tokens at the end of a row that the next context will not have. most: positions (rows × longest row) of one
    forward, None for any.
    """

    def __init__(
        self, ids: Ids, rows: Sequence[Ids], read: Callable[[Tensor, range], None], *, spare: int, most: int | None
    ) -> None:
        super().__init__(ids)
        self.rows, self.read, self.spare, self.most = rows, read, spare, most
        self._unread = len(rows)

    def parts(self) -> Iterator[Part[FeedRequest]]:
        """The rows, WIDTH and `most` positions at most together."""
        longest = max(map(len, self.rows))
        size = WIDTH if self.most is None else max(1, min(WIDTH, self.most // longest))
        return _cut(self, range(len(self.rows)), size)

    def seen(self, part: Part[FeedRequest]) -> None:
        """A part was read."""
        self._unread -= len(part.which)
        if not self._unread and not self.future.done():
            self.future.set_result(None)


class SampleRequest(Request[DrawnRows]):
    """n rows of at most `limit` tokens from the law's softmax over `size` ids; a row ends as `ends` says.

    Row i draws from Stream(key, i) only. hear: is told of rows that have ended, by the engine's thread, while others
    have not; of one that is drawn again for want of memory perhaps again.
    """

    def __init__(
        self,
        ids: Ids,
        n: int,
        key: Key,
        law: SamplingLaw,
        *,
        limit: int,
        ends: StepEnds,
        size: int,
        hear: HearRows | None = None,
    ) -> None:
        super().__init__(ids)
        self.n, self.key, self.limit, self.ends, self.size, self.hear = n, key, limit, ends, size, hear
        self.law = SamplingLaw(law.temperature, law.top_p)  # what the softmax depends on, equal where that is
        self._ended: dict[int, SampledRow] = {}

    def parts(self) -> Iterator[Part[SampleRequest]]:
        """All rows together: they begin as one row of the forward."""
        return _cut(self, range(self.n), self.n)

    def stream(self, candidate: int) -> Stream:
        """What a candidate draws from."""
        return Stream(self.key, candidate)

    def ended(self, rows: Mapping[int, SampledRow]) -> None:
        """These candidates are complete."""
        self._ended.update(rows)
        if len(self._ended) < self.n:
            if self.hear is not None and not self.future.done():
                self.hear({candidate: (row.ids, row.log_probs) for candidate, row in rows.items()})
        elif not self.future.done():
            whole = (self._ended[i] for i in range(self.n))
            self.future.set_result([(row.ids, row.log_probs) for row in whole])


@dataclass(frozen=True, slots=True, eq=False)
class Part(Generic[RequestT]):
    """Rows `which` of a request."""

    request: RequestT
    which: range

    def halves(self) -> list[Part[RequestT]]:
        """Two parts of half the rows; itself if it has one row."""
        return list(_cut(self.request, self.which, (len(self.which) + 1) // 2))


def _cut(request: RequestT, rows: range, size: int) -> Iterator[Part[RequestT]]:
    return (Part(request, rows[first : first + size]) for first in range(0, len(rows), size))
