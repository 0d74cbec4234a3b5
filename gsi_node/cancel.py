"""Cancelling work that runs in threads: an asyncio cancellation, or Ctrl-C in the main thread, raises a flag, and what
works or waits looks at it, between tokens or ten times a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Event, Thread, current_thread, main_thread
from typing import Any, Final, ParamSpec, TypeVar, cast

from gsi_node.errors import Cancelled

P = ParamSpec("P")
T = TypeVar("T")
_flag: ContextVar[Event | None] = ContextVar("gsi_cancel", default=None)
_END: Final = object()
LOOK = 0.1
"""Seconds between two looks of a waiting thread at whether its run is gone."""
_new_pool = partial(ThreadPoolExecutor, 128, thread_name_prefix="gsi")
_POOL = _new_pool()
"""Threads that wait for models, made as needed. The own pool of asyncio has few more than there are cores: with it, no
more requests than that would ever share a forward."""


def _forked() -> None:
    """A forked child has the pool's books but none of its threads."""
    global _POOL
    _POOL = _new_pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


async def run_cancellable(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a worker thread; when the awaiting task is cancelled, make its `check_cancelled` raise."""
    flag = Event()
    token = _flag.set(flag)
    try:
        work = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(_POOL, work)
    except asyncio.CancelledError:
        flag.set()
        raise
    finally:
        _flag.reset(token)


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; if one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def begin_apart(function: Callable[[], object], flag: Event, name: str) -> None:
    """Run `function` in a thread of its own, under `flag` alone; nobody waits for its end."""
    context = copy_context()
    context.run(_flag.set, flag)
    Thread(target=context.run, args=(function,), name=name, daemon=True).start()


def result_of(future: Future[T]) -> T:
    """A future's result, for threads. Raises Cancelled once the caller's run is gone."""
    while not wait((future,), LOOK).done:
        check_cancelled()
    return future.result()


def run_interruptible(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """function(...), such that Ctrl-C ends the work of all threads it waits for.

    KeyboardInterrupt is raised in the main thread alone, and a pool then waits for its threads, which hear nothing. So
    on the main thread the call runs in another; where this one is interrupted meanwhile, the flag is raised, the call
    ends, and KeyboardInterrupt goes on. Elsewhere, or under a flag, it is a plain call.
    """
    return _Interruptible()(function, *args, **kwargs)


def iterate_interruptible(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """`items`, each made as run_interruptible makes its result; closed under the flag where no more are taken."""
    here = _Interruptible()
    try:
        while (item := here(next, items, _END)) is not _END:
            yield cast("T", item)
    finally:
        here.end(items)


class _Interruptible:
    """Calls in one context, with one flag."""

    def __init__(self) -> None:
        self.flag = Event()
        self._working = False
        self._context = copy_context()
        self._plain = current_thread() is not main_thread() or _flag.get() is not None
        if not self._plain:
            self._context.run(_flag.set, self.flag)

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._plain:
            return function(*args, **kwargs)
        future: Future[T] = Future()
        call = partial(self._context.run, function, *args, **kwargs)
        thread = Thread(target=_into, args=(future, call), name="gsi-run", daemon=True)
        try:  # an interrupt may come before the thread begins, or in the middle of its start
            thread.start()
            return future.result()
        except BaseException:
            self.flag.set()
            if not future.cancel():
                wait((future,))  # a second Ctrl-C does not
            raise
        finally:
            self._working = not future.done()

    def end(self, items: Generator[object, None, None]) -> None:
        """Close `items`, unless a thread that did not end still makes one."""
        self.flag.set()
        if not self._working:
            self._context.run(items.close)


def _into(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 (whatever it is, the waiting thread raises it)
        future.set_exception(error)


def current_flag() -> Event | None:
    """The flag of the run that this code works for, for another thread to look at; None where none can be raised."""
    return _flag.get()


def check_cancelled() -> None:
    """Raise Cancelled if the run that asked for the current work is gone. Call it once a token or a batch."""
    flag = _flag.get()
    if flag is not None and flag.is_set():
        raise Cancelled("the run that asked for this generation was cancelled")
