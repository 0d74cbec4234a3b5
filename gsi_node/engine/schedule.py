"""Which requests share the next forwards: as many as the memory bound allows, first come first served.

A turn: drop who is gone; run the parts with given rows; let parts to be sampled join; one token for all that are.
Out of memory: the bound is halved, and the work is done again in halves.
Any other failure: every request of that forward is run again alone, so that only the guilty one fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch

from gsi_node.engine.budget import Extent
from gsi_node.engine.decode import Decoder
from gsi_node.engine.requests import WIDTH, AnyRequest, FeedRequest, Part, RequestT, SampleRequest
from gsi_node.engine.runner import Runner


class Scheduler:
    """The requests one engine works on."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.decoder = Decoder(runner)
        self._pending: deque[Part[SampleRequest]] = deque()

    def turn(self, new: Sequence[AnyRequest]) -> bool:
        """Work on all there is; whether something is left to do."""
        self._runner.budget.turn()
        fed: list[Part[FeedRequest]] = []
        for request in new:
            if request.gone:
                continue
            if isinstance(request, FeedRequest):
                fed.extend(request.parts())
            else:
                self._pending.extend(request.parts())
        for some in self._runner.budget.portions(fed, _fed, lambda part: part.request.most):
            self._run(some)
        if leaving := [part for part in self.decoder.parts if part.request.given_up or part.request.gone]:
            self.decoder.leave(leaving)
            for part in leaving:
                part.request.tell()
        self._admit()
        if self.decoder.parts:
            self._tick()
        return bool(self.decoder.parts or self._pending)

    def reset(self) -> None:
        """Forget all work. Allocates nothing, so that it works where the device does not any more."""
        self._pending.clear()
        self.decoder.clear()

    def _run(self, parts: list[Part[FeedRequest]]) -> None:
        """The forward of some parts with given rows, in smaller ones where it fails."""
        parts = [part for part in parts if not part.request.gone]
        if not parts:
            return
        try:
            self._runner.run(parts)
        except torch.OutOfMemoryError as error:
            halves = _halved(parts)
            self._shrink([_fed(part) for part in parts], error)
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
        joining: list[Part[SampleRequest]] = []
        while self._pending:
            part = self._pending[0]
            here = [*self.decoder.parts, *joining]
            if part.request.gone:
                self._pending.popleft()
                continue
            if not here and len(part.which) > WIDTH and not self._runner.decodable([_sampled(part)]):
                self._pending.popleft()
                self._pending.extendleft(reversed(part.halves()))
                continue
            if here and (
                any(p.request is not part.request and (p.request.alone or part.request.alone) for p in here)
                or not self._runner.decodable([*map(_sampled, here), _sampled(part)])
            ):
                break
            joining.append(self._pending.popleft())
        if not joining:
            return
        try:
            contexts = self._runner.contexts([part.request.ids[:-1] for part in joining])
            self.decoder.join(joining, contexts)
        except Exception as error:  # noqa: BLE001 (as in _run)
            self._again(joining, error)

    def _tick(self) -> None:
        try:
            self.decoder.tick()
        except Exception as error:  # noqa: BLE001 (as in _run)
            self._again([], error)

    def _again(self, joining: list[Part[SampleRequest]], error: Exception) -> None:
        """Sampling has failed: all its parts begin again (with the same draws), in smaller company or alone."""
        parts = [*dict.fromkeys([*self.decoder.parts, *joining])]
        self.decoder = Decoder(self._runner)
        if isinstance(error, torch.OutOfMemoryError):
            self._shrink([_sampled(part) for part in parts], error)
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

    def _shrink(self, extents: list[Extent], error: torch.OutOfMemoryError) -> None:
        """A smaller bound from now on, and nothing kept that can be computed again."""
        error.with_traceback(None)  # its frames hold what the failed forward had allocated
        self._runner.budget.shrink(extents)
        self._runner.release()


def _fed(part: Part[FeedRequest]) -> Extent:
    return Extent(len(part.request.ids) - 1, len(part.which), max(len(part.request.rows[i]) for i in part.which))


def _sampled(part: Part[SampleRequest]) -> Extent:
    return Extent(len(part.request.ids) - 1, len(part.which), part.request.limit)


def _halved(parts: list[Part[RequestT]]) -> list[list[Part[RequestT]]]:
    """Two halves of the parts, or of the one part; itself if nothing can be halved."""
    if len(parts) == 1:
        return [[half] for half in parts[0].halves()]
    middle = (len(parts) + 1) // 2
    return [parts[:middle], parts[middle:]]
