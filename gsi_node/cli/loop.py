"""One event loop for a command: SIGTERM acts as Ctrl-C does, and both let the work in hand close its files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Loop:
    """A context manager around asyncio.Runner. Between its runs a signal raises KeyboardInterrupt at once; within one
    it cancels the task, whose clean-up is awaited before KeyboardInterrupt is raised.

    terminated: whether SIGTERM was received.
    """

    def __init__(self) -> None:
        self.terminated = False
        self._runner = asyncio.Runner()
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._previous = signal.signal(signal.SIGTERM, self._on_sigterm)
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:  # what is cut short says nothing: the error itself is told
            self._runner.get_loop().set_exception_handler(lambda loop, context: None)
        signal.signal(signal.SIGTERM, self._previous)
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine. Raises KeyboardInterrupt where it was cancelled by a signal."""
        try:
            return self._runner.run(self._held(work))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """`run`, to the end of the work: a signal that comes meanwhile raises KeyboardInterrupt after it. For closing
        what would keep the process alive, such as a connection with a thread of its own."""
        signals = (signal.SIGINT, signal.SIGTERM)
        came: list[int] = []
        previous = {n: signal.getsignal(n) for n in signals if signal.getsignal(n) is not signal.SIG_IGN}
        for number in previous:
            signal.signal(number, lambda number, frame: came.append(number))
        try:
            self._runner.run(work)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if came:
            self.terminated = self.terminated or signal.SIGTERM in came
            raise KeyboardInterrupt

    async def _held(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        try:
            return await work
        except BaseException:
            # what else the work began would run on within the next `run`, and write to files that it closes
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            raise
        finally:
            self._task = None

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True
        if self._task is None:
            raise KeyboardInterrupt
        self._runner.get_loop().call_soon_threadsafe(self._task.cancel)
