"""Which requests share the next forwards: as many as the memory bound allows, first come first served.

A turn: drop who is gone; run the parts of `Feed`s; let parts of `Draw`s join; one token for all rows being sampled.
Out of memory: the bound is halved (and doubled again after CALM turns without), and the work is done again in halves.
Any other failure: every request of that forward is run again alone, so that only the guilty one fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from gsi_node.engine.decode import Decoder
from gsi_node.engine.requests import Feed, Part, Request

if TYPE_CHECKING:
    from gsi_node.engine.forward import Engine

T = TypeVar("T")
Size = tuple[int, int, int]
"""Prefix tokens, rows, tokens fed a row."""
CALM = 10_000
"""Turns (tokens of a row) after which a bound that was halved is doubled: another program may have had the memory."""


class Schedule:
    """The requests one engine works on. batch_bytes: what a batch may need, where more than one part could share it."""

    def __init__(self, engine: Engine, batch_bytes: int) -> None:
        self._engine = engine
        self.batch_bytes = self._most_bytes = batch_bytes
        self._calm = 0
        self.decoder = Decoder(engine)
        self._pending: deque[Part] = deque()

    def turn(self, new: list[Request]) -> bool:
        """Work on all there is; whether something is left to do."""
        self._calm += 1
        if self._calm >= CALM and self.batch_bytes < self._most_bytes:
            self.batch_bytes, self._calm = min(2 * self.batch_bytes, self._most_bytes), 0
        fed: list[Part] = []
        for request in new:
            if not request.gone:
                (fed if isinstance(request, Feed) else self._pending).extend(request.parts())
        for some in self.portions(fed, _feed_size):
            self._run(some)
        if gone := [part for part in self.decoder.parts if part.request.gone]:
            self.decoder.leave(gone)
        self._admit()
        if self.decoder.parts:
            self._tick()
        return bool(self.decoder.parts or self._pending)

    def reset(self) -> None:
        """Forget all work. Allocates nothing, so that it works where the device does not any more."""
        self._pending.clear()
        self.decoder.batch.groups.clear()

    def need(self, sizes: Sequence[Size]) -> int:
        """Bytes of a batch of such parts: keys and values, and (twice) the attention weights of one layer."""
        layout = self._engine.layout
        tokens, rows, fed = (max(size[i] for size in sizes) for i in range(3))
        kept = len(sizes) * (tokens + rows * fed) * layout.token_bytes
        return kept + 2 * len(sizes) * rows * fed * (tokens + fed) * self._engine.attention_heads * 4

    def portions(self, items: Sequence[T], size: Callable[[T], Size]) -> Iterator[list[T]]:
        """Runs of items that fit into the memory bound together, and into their own `most`; at least one item each."""
        some: list[T] = []
        sizes: list[Size] = []
        for item in items:
            more = [*sizes, size(item)]
            if some and (self.need(more) > self.batch_bytes or not _may_join(item, some, more)):
                yield some
                some, more = [], more[-1:]
            some, sizes = [*some, item], more
        if some:
            yield some

    def _run(self, parts: list[Part]) -> None:
        """The forward of some `Feed` parts, in smaller ones where it fails."""
        parts = [part for part in parts if not part.request.gone]
        if not parts:
            return
        try:
            self._engine.once(parts)
        except torch.OutOfMemoryError as error:
            halves = _halved(parts)
            self._shrink([_feed_size(part) for part in parts], error)
            if len(halves) == 1:
                parts[0].request.fail(error)
                return
            for some in halves:
                self._run(some)
        except Exception as error:  # noqa: BLE001 (found out by running each request alone, and handed to the guilty one)
            if len({id(part.request) for part in parts}) == 1:
                parts[0].request.fail(error)
                return
            for request in dict.fromkeys(part.request for part in parts):
                self._run([part for part in parts if part.request is request])

    def _admit(self) -> None:
        """Let waiting parts join the rows being sampled while the bound allows (always, if there are none)."""
        joining: list[Part] = []
        sizes = [_draw_size(part) for part in self.decoder.parts]
        while self._pending:
            part = self._pending[0]
            here = [*self.decoder.parts, *joining]
            if part.request.gone:
                self._pending.popleft()
                continue
            if here and (
                any(p.request is not part.request and (p.request.alone or part.request.alone) for p in here)
                or self.need_sampling([*sizes, _draw_size(part)]) > self.batch_bytes
            ):
                break
            sizes.append(_draw_size(part))
            joining.append(self._pending.popleft())
        if not joining:
            return
        try:
            contexts = self._engine.contexts([part.request.ids[:-1] for part in joining])
            self.decoder.join(joining, contexts)
        except Exception as error:  # noqa: BLE001 (as in _run)
            self._again(joining, error)

    def need_sampling(self, sizes: Sequence[Size]) -> int:
        """Bytes of a batch being sampled: as `need`, with one token fed at a time."""
        layout = self._engine.layout
        tokens, rows, limit = (max(size[i] for size in sizes) for i in range(3))
        kept = len(sizes) * (tokens + rows * limit) * layout.token_bytes
        return kept + 2 * len(sizes) * rows * (tokens + limit) * self._engine.attention_heads * 4

    def _tick(self) -> None:
        try:
            self.decoder.tick()
        except Exception as error:  # noqa: BLE001 (as in _run)
            self._again([], error)

    def _again(self, joining: list[Part], error: Exception) -> None:
        """Sampling has failed: all its parts begin again (with the same draws), in smaller company or alone."""
        parts = [*dict.fromkeys([*self.decoder.parts, *joining])]
        self.decoder = Decoder(self._engine)
        if isinstance(error, torch.OutOfMemoryError):
            self._shrink([_draw_size(part) for part in parts], error)
            if len(parts) == 1 and len(parts[0].which) == 1:
                parts[0].request.fail(error)
                return
            parts = [half for part in parts for half in (part.halves() if len(parts) == 1 else [part])]
        elif len({id(part.request) for part in parts}) == 1:
            parts[0].request.fail(error)
            return
        else:
            for part in parts:
                part.request.alone = True
        self._pending.extendleft(reversed(parts))

    def _shrink(self, sizes: list[Size], error: torch.OutOfMemoryError) -> None:
        """From now on at most half of what was too much, and nothing kept that can be computed again."""
        error.with_traceback(None)  # its frames hold what the failed forward had allocated
        self._calm = 0
        self.batch_bytes = max(1, min(self.batch_bytes, self.need(sizes)) // 2)
        self._engine.release()


def _feed_size(part: Part) -> Size:
    return len(part.request.ids) - 1, len(part.which), max(len(part.request.rows[i]) for i in part.which)


def _draw_size(part: Part) -> Size:
    return len(part.request.ids) - 1, len(part.which), part.request.limit


def _may_join(item: object, some: Sequence[object], sizes: Sequence[Size]) -> bool:
    """Whether rows × longest row stays within what the requests allow for their outputs."""
    parts = [part for part in (*some, item) if isinstance(part, Part) and isinstance(part.request, Feed)]
    most = min((part.request.most for part in parts if part.request.most is not None), default=None)
    return most is None or sum(size[1] for size in sizes) * max(size[2] for size in sizes) <= most


def _halved(parts: list[Part]) -> list[list[Part]]:
    """Two halves of the parts, or of the one part; itself if nothing can be halved."""
    if len(parts) == 1:
        return [[half] for half in parts[0].halves()]
    middle = (len(parts) + 1) // 2
    return [parts[:middle], parts[middle:]]
