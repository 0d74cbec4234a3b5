"""Cancelling work that runs in a thread: an asyncio cancellation raises a flag, and loops look at it between tokens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Event
from typing import ParamSpec, TypeVar

from gsi_node.errors import Cancelled

P = ParamSpec("P")
T = TypeVar("T")
_flag: ContextVar[Event | None] = ContextVar("gsi_cancel", default=None)
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


def current_flag() -> Event | None:
    """The flag of the run that this code works for, for another thread to look at; None where none can be raised."""
    return _flag.get()


def check_cancelled() -> None:
    """Raise Cancelled if the run that asked for the current work is gone. Call it once a token or a batch."""
    flag = _flag.get()
    if flag is not None and flag.is_set():
        raise Cancelled("the run that asked for this generation was cancelled")
