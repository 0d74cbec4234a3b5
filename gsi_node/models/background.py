"""The event loop of every server client, on a thread of its own; a forked child begins a new one."""

from __future__ import annotations

import asyncio
import os
import selectors
import threading

_left: list[object] = []  # what a fork left behind, kept from the garbage collector: it would close the parent's loop


class BackgroundLoop:
    """Calling it gives the running loop; it starts at the first call."""

    _lock: threading.Lock
    _selector: selectors.BaseSelector | None
    _running: asyncio.AbstractEventLoop | None

    def __init__(self) -> None:
        self._begin()

    def __call__(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                self._selector = selectors.DefaultSelector()
                self._running = asyncio.SelectorEventLoop(self._selector)
                threading.Thread(target=self._running.run_forever, name="gsi-http", daemon=True).start()
            return self._running

    def forget(self) -> None:
        """In a forked child: its thread is gone, and its connections are the parent's. They are taken out of this
        process by putting the null device in their place, for closing them would say so to the parent's selector."""
        if self._selector is not None:
            null = os.open(os.devnull, os.O_RDWR)
            for key in list(self._selector.get_map().values()):
                os.dup2(null, key.fd)
            os.close(null)
            _left.extend((self._running, self._selector))
        self._begin()

    def _begin(self) -> None:
        self._lock, self._selector, self._running = threading.Lock(), None, None


background_loop = BackgroundLoop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=background_loop.forget)


def keep(thing: object) -> None:
    """Keep a client of the loop that a fork left behind from being collected."""
    _left.append(thing)
