"""One of several equal servers: whether it works, and whether it still is what it was when the run began."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

from gsi_node.errors import BackendError, GSIError


class Failed(Exception):
    """One attempt failed: `problem` in words, `fix` for the user, `kind` to raise when no attempt is left.

    again: another attempt may succeed. after: seconds the server asks to wait. down: the replica is out of order.
    """

    def __init__(
        self,
        problem: str,
        kind: type[GSIError] = BackendError,
        *,
        fix: str = "Look into the server's log",
        again: bool = True,
        after: float = 0.0,
        down: bool = False,
    ) -> None:
        super().__init__(problem)
        self.problem, self.kind, self.fix, self.again, self.after, self.down = problem, kind, fix, again, after, down


@dataclass(slots=True)
class Replica:
    """One server. proxy: by which it is reached, None directly. outstanding: requests under way. rest: seconds it was
    last set aside for, until `resting`.

    checked: when it was last seen to be what it was at start-up (monotonic seconds); None since it failed. heard: when
    an answer of it last counted.
    """

    url: str
    proxy: str | None = None
    outstanding: int = 0
    rest: float = 0.0
    resting: float = 0.0
    checked: float | None = None
    heard: float = -inf
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def root(self) -> str:
        """The address of what stands beside /v1."""
        return self.url.removesuffix("/v1")

    def begin_anew(self) -> None:
        """Forget requests, failures and checks: what a fork left under way is not this process's."""
        self.outstanding, self.rest, self.resting, self.checked = 0, 0.0, 0.0, None
        self.checking, self.heard = asyncio.Lock(), -inf

    def set_aside(self) -> None:
        """Ask it no more for twice as long as before, and only after a check."""
        self.checked = None
        self.rest = min(30.0, max(0.5, 2 * self.rest))
        self.resting = time.monotonic() + self.rest

    async def verify(self, check: Callable[[], Awaitable[None]], since: float) -> None:
        """Run `check` unless it began after `since` (monotonic seconds) and passed."""
        async with self.checking:
            if self.checked is not None and self.checked >= since:
                return
            started, self.checked = time.monotonic(), None
            await check()
            self.checked = started
