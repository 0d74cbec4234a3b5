"""One thread a model: takes the requests of all callers, and gives the engine a turn (a few forwards) at a time.

Requests that arrive while a forward runs are in the next turn. The thread starts with the first request and ends
after IDLE seconds without one, so that engines nobody uses cost nothing. It ends with its turn when the interpreter
exits (a thread torn off inside of torch aborts the process); a forked child, which inherits no thread, begins anew.
On CUDA it has a stream of its own: models on one device work side by side. What long work frees it gives back to the
system.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from threading import Condition, Thread
from weakref import WeakSet

import torch

from gsi_node.cancel import check_cancelled
from gsi_node.engine.requests import AnyRequest
from gsi_node.errors import Cancelled
from gsi_node.host.memory import Returning

IDLE = 2.0
LAST_TURN = 30.0
"""Seconds that an exiting interpreter waits for a turn to end."""


class EngineThread:
    """turn(new requests) works and says whether it has work left; reset() forgets all work and cannot fail.

    most_waiting: requests not yet taken; a caller beyond that waits. device: where the model is.
    """

    def __init__(
        self,
        turn: Callable[[list[AnyRequest]], bool],
        reset: Callable[[], None],
        most_waiting: int,
        device: torch.device,
    ) -> None:
        self._turn, self._reset, self._most = turn, reset, most_waiting
        self._waiting: deque[AnyRequest] = deque()
        self._held: list[AnyRequest] = []  # taken, and some of them perhaps done
        self._changed = Condition()
        self._thread: Thread | None = None
        self._ending = False
        self._memory = Returning()
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        _WORKERS.add(self)

    def submit(self, request: AnyRequest) -> None:
        """Queue a request; waits while the queue is full. Raises Cancelled if the caller's run is cancelled there."""
        with self._changed:
            while len(self._waiting) >= self._most:
                self._changed.wait(0.1)
                check_cancelled()
            if self._thread is None:
                thread = Thread(target=self._run, name="gsi-engine", daemon=True)
                thread.start()  # may raise: then nothing is queued, and the next caller tries again
                self._thread = thread
            self._waiting.append(request)
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Requests not yet taken."""
        return len(self._waiting)

    def end(self) -> None:
        """Let the thread end with its turn; requests that are not done then are told so."""
        with self._changed:
            thread = self._thread
            self._ending = thread is not None
            self._changed.notify_all()
        if thread is not None:
            thread.join(LAST_TURN)

    def forked(self) -> None:
        """In a forked child: the parent's requests are not here, and its locks may be held by nobody."""
        self._waiting, self._held, self._changed = deque(), [], Condition()
        self._thread, self._ending = None, False
        self._reset()

    def _run(self) -> None:
        busy = False
        beside = nullcontext() if self.stream is None else torch.cuda.stream(self.stream)
        with torch.inference_mode(), beside:
            while (new := self._take(busy)) is not None:
                try:
                    if new and self.stream is not None:  # weights, say, may still be on their way
                        self.stream.wait_stream(torch.cuda.default_stream(self.stream.device))
                    busy = self._turn(new)
                    self._memory.now_and_then()
                except BaseException as error:  # noqa: BLE001 (whatever it is, callers must hear of it, not wait for ever)
                    self._fail(error)
                    busy = False

    def _fail(self, error: BaseException) -> None:
        for request in self._held:
            request.fail(error)
        self._reset()

    def _take(self, busy: bool) -> list[AnyRequest] | None:
        """What came in; None when nothing did for long, or at the interpreter's exit: the thread ends."""
        with self._changed:
            if not busy:
                self._held = []
                if not self._waiting and not self._ending:
                    self._changed.wait(IDLE)
            if self._ending:
                self._held += self._waiting
                self._waiting.clear()
                self._fail(Cancelled("the interpreter exits"))
            if self._ending or not (busy or self._waiting):
                self._thread, self._held, self._ending = None, [], False
                return None
            new = list(self._waiting)
            self._waiting.clear()
            if new:
                self._held = [*(request for request in self._held if not request.future.done()), *new]
            if len(new) >= self._most:
                self._changed.notify_all()
            return new


_WORKERS: WeakSet[EngineThread] = WeakSet()


@atexit.register
def _end() -> None:
    for worker in list(_WORKERS):
        worker.end()


def _forked() -> None:
    for worker in list(_WORKERS):
        worker.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
