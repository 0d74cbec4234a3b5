"""Memory that was freed and that the C library keeps, for the system again.

Where small blocks live long between large ones that come and go, as a prefix cache's do between batches, glibc's heap
grows past what is in use, until a machine has none left (measured in docs/log.md, 2026-12-01).
"""

from __future__ import annotations

import ctypes
from time import monotonic

EVERY = 300.0
"""Seconds between two returns: what is used again afterwards costs page faults, seconds a GB on some machines."""


class Returning:
    """Gives memory back now and then, and nothing where the C library has no `malloc_trim` (musl, macOS)."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._due = monotonic() + EVERY

    def now_and_then(self) -> None:
        """To be called often: at most once in EVERY seconds it does something."""
        if self._trim is not None and monotonic() >= self._due:
            self._trim(ctypes.c_size_t(0))
            self._due = monotonic() + EVERY
