"""The event loop of every server client, on a thread of its own; a forked child begins a new one."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class BackgroundLoop:
    """Calling it gives the running loop; it starts at the first call."""

    _lock: threading.Lock
    _running: asyncio.AbstractEventLoop | None
    _sockets: list[Any]

    def __init__(self) -> None:
        self._left: list[object] = []
        self._begin()

    def __call__(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                self._running = asyncio.new_event_loop()
                threading.Thread(target=self._running.run_forever, name="gsi-http", daemon=True).start()
            return self._running

    def connected(self, socket: Any) -> None:
        """Hear, on the loop, of a new connection's socket."""
        self._sockets = [known for known in self._sockets if known.fileno() >= 0] + [socket]

    def keep(self, thing: object) -> None:
        """Keep what a fork left behind from being collected: that would close it, and the parent's with it."""
        self._left.append(thing)

    def close(self, loop: object, closing: Callable[[], Coroutine[Any, Any, None]], thing: object) -> None:
        """Close what nobody holds any more, on the loop; keep it where it belongs to another one."""
        if loop is self._running and self._running is not None:
            asyncio.run_coroutine_threadsafe(closing(), self._running)
        else:
            self.keep(thing)

    def forget(self) -> None:
        """In a forked child: the thread is gone, and the connections are the parent's. This process lets go of them by
        putting the null device in their place; to close them would take them out of the parent's selector."""
        null = os.open(os.devnull, os.O_RDWR)
        for socket in self._sockets:
            if socket.fileno() >= 0:
                os.dup2(null, socket.fileno())
        os.close(null)
        self._left.extend((self._running, self._sockets))
        self._begin()

    def _begin(self) -> None:
        self._lock, self._running, self._sockets = threading.Lock(), None, []


background_loop = BackgroundLoop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=background_loop.forget)
