"""One thread a model: takes the requests of all callers, and gives the engine a turn (a few forwards) at a time.

Requests that arrive while a forward runs are in the next turn. The thread starts with the first request and ends
after IDLE seconds without one, so that engines nobody uses cost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread

import torch

from gsi_node.cancel import check_cancelled
from gsi_node.engine.requests import Request

IDLE = 2.0


class Worker:
    """turn(new requests) works and says whether it has work left; fail(error) hands an error to all it holds.

    most_waiting: requests not yet taken; a caller beyond that waits.
    """

    def __init__(
        self, turn: Callable[[list[Request]], bool], fail: Callable[[BaseException], None], most_waiting: int
    ) -> None:
        self._turn, self._fail, self._most = turn, fail, most_waiting
        self._waiting: deque[Request] = deque()
        self._changed = Condition()
        self._thread: Thread | None = None

    def submit(self, request: Request) -> None:
        """Queue a request; waits while the queue is full. Raises Cancelled if the caller's run is cancelled there."""
        with self._changed:
            while len(self._waiting) >= self._most:
                self._changed.wait(0.1)
                check_cancelled()
            self._waiting.append(request)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="gsi-engine", daemon=True)
                self._thread.start()
            else:
                self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Requests not yet taken."""
        return len(self._waiting)

    def _run(self) -> None:
        busy = False
        with torch.inference_mode():
            while (new := self._take(busy)) is not None:
                try:
                    busy = self._turn(new)
                except BaseException as error:  # noqa: BLE001 (whatever it is, callers must hear of it, not wait for ever)
                    for request in new:
                        request.fail(error)
                    self._fail(error)
                    busy = False

    def _take(self, busy: bool) -> list[Request] | None:
        """What came in; None when nothing did for long: the thread ends."""
        with self._changed:
            if not busy and not self._waiting:
                self._changed.wait(IDLE)
                if not self._waiting:
                    self._thread = None
                    return None
            new = list(self._waiting)
            self._waiting.clear()
            if len(new) >= self._most:
                self._changed.notify_all()
            return new
