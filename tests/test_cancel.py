"""Work in threads: as many calls at a time as there are callers, each with its context, stopped on cancellation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from threading import Barrier, Event, Thread

import pytest

from gsi_node.cancel import check_cancelled, iterate_interruptible, run_cancellable, run_interruptible
from gsi_node.errors import Cancelled

NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def test_forty_calls_are_under_way_at_a_time() -> None:
    together = Barrier(40)  # breaks, and raises, unless all forty arrive
    ranks = await asyncio.gather(*(run_cancellable(together.wait, 30) for _ in range(40)))
    assert sorted(ranks) == list(range(40))


async def test_the_context_goes_along() -> None:
    NAME.set("somebody")
    assert await run_cancellable(NAME.get) == "somebody"


async def test_a_cancelled_call_hears_of_it() -> None:
    started, heard = Event(), Event()

    def work() -> None:
        started.set()
        try:
            while not heard.wait(0.005):
                check_cancelled()
        except Cancelled:
            heard.set()
            raise

    task = asyncio.create_task(run_cancellable(work))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(heard.wait, 10)


def test_an_interrupt_before_an_item_is_waited_for_ends_it_and_closes_what_made_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def items() -> Generator[int, None, None]:
        try:
            for _ in range(1000):
                check_cancelled()
                time.sleep(0.01)
        finally:
            seen.append("closed")
        yield 1

    real = Thread.start

    def start(self: Thread) -> None:
        real(self)
        time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr("gsi_node.cancel.Thread.start", start)
    with pytest.raises(KeyboardInterrupt):
        next(iterate_interruptible(items()))
    assert seen == ["closed"]


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("ends", [KeyboardInterrupt, RuntimeError("can't start new thread")])
def test_what_ends_the_start_of_a_thread_ends_the_call(
    when: str, ends: BaseException | type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the thread never begins nobody waits for it; where it has begun, it hears of it: of single calls, too."""
    begun, over = Event(), Event()

    def work() -> None:
        begun.set()
        try:
            while True:
                check_cancelled()
                time.sleep(0.002)
        finally:
            over.set()

    real = Thread.start

    def start(self: Thread) -> None:
        if when == "behind":
            real(self)
            begun.wait()
        raise ends

    monkeypatch.setattr("gsi_node.cancel.Thread.start", start)
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        run_interruptible(work)
    assert begun.is_set() == over.is_set() == (when == "behind")
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        next(iterate_interruptible(_one(work)))
    assert begun.is_set() == over.is_set()


def _one(work: Callable[[], None]) -> Generator[None, None, None]:
    work()
    yield
