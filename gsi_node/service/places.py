"""How many runs go on at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """most: runs at a time, `taken` of them now."""

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._free = asyncio.Semaphore(most)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Waits for a place, and has it in this block."""
        async with self._free:
            self.taken += 1
            try:
                yield
            finally:
                self.taken -= 1
