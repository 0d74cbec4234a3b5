"""What a batch may need in memory, and which items fit into one together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")
CALM = 10_000
"""Turns (tokens of a row) after which a bound that was halved is doubled: another program may have had the memory."""


class Extent(NamedTuple):
    """How large a part of a batch is: tokens of its prefix, rows, own tokens a row."""

    tokens: int
    rows: int
    own: int


def largest(extents: Sequence[Extent]) -> Extent:
    """As many tokens, rows and own tokens as any of these has."""
    return Extent(*map(max, zip(*extents, strict=True)))


class MemoryBudget:
    """bytes: what a batch may need now, where more than one part could share it.

    token_bytes: of the keys and values of a token. heads: of the attention of a layer.
    """

    def __init__(self, most_bytes: int, *, token_bytes: int, heads: int) -> None:
        self.bytes = self._most_bytes = most_bytes
        self._token_bytes = token_bytes
        self._heads = heads
        self._calm = 0

    def turn(self) -> None:
        """A turn went by; after CALM of them without want of memory, a halved bound is doubled."""
        self._calm += 1
        if self._calm >= CALM and self.bytes < self._most_bytes:
            self.bytes, self._calm = min(2 * self.bytes, self._most_bytes), 0

    def shrink(self, extents: Sequence[Extent]) -> None:
        """From now on at most half of what was too much."""
        self._calm = 0
        self.bytes = max(1, min(self.bytes, self.need(extents)) // 2)

    def need(self, extents: Sequence[Extent], at_once: int | None = None) -> int:
        """Bytes of a batch of such parts: keys and values, and (twice) the attention weights of one layer.

        at_once: own tokens that one forward is fed; all of them for None.
        """
        tokens, rows, own = largest(extents)
        kept = len(extents) * (tokens + rows * own) * self._token_bytes
        return kept + 2 * len(extents) * rows * (at_once or own) * (tokens + own) * self._heads * 4

    def fits(self, extents: Sequence[Extent], at_once: int | None = None) -> bool:
        """Whether a batch of such parts stays within the bound."""
        return self.need(extents, at_once) <= self.bytes

    def portions(
        self, items: Sequence[T], extent: Callable[[T], Extent], most: Callable[[T], int | None] = lambda item: None
    ) -> Iterator[list[T]]:
        """Runs of items that fit into the bound together; at least one item each.

        most: the positions (rows × longest row) that an item allows a batch it is in, None for any number.
        """
        some: list[T] = []
        extents: list[Extent] = []
        for item in items:
            more = [*extents, extent(item)]
            if some and not (self.fits(more) and _allowed(more, map(most, (*some, item)))):
                yield some
                some, more = [], more[-1:]
            some, extents = [*some, item], more
        if some:
            yield some


def _allowed(extents: Sequence[Extent], limits: Iterator[int | None]) -> bool:
    most = min((limit for limit in limits if limit is not None), default=None)
    return most is None or sum(e.rows for e in extents) * max(e.own for e in extents) <= most
