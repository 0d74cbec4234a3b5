"""One process at a time on a thread of a checkpoint file; other threads of the file are free."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from gsi_node.errors import ConfigError, InUse
from gsi_node.posix import fcntl

SETUP = 0  # the byte that is locked while the file itself is made


class ThreadLocks:
    """FILE-lock, an empty file beside the checkpoint file, in which each thread is one byte at the place of its hash.

    The byte is locked by the kernel for this process (a POSIX record lock): given back at its death, of whatever kind,
    and not handed on to children. Raises ConfigError where there can be no such file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        path = Path(name).resolve()  # one lock, whatever links lead to the file
        try:
            self._file = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"checkpoint {name}: {path.name}-lock beside it: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._file)

    @contextmanager
    def setup(self) -> Iterator[None]:
        """Wait until no other process is making the file."""
        with self._held(SETUP, fcntl.LOCK_EX):
            yield

    @contextmanager
    def thread(self, thread: str) -> Iterator[None]:
        """Hold a thread. Raises InUse, at once, where another process holds it."""
        digest = blake2b(thread.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        place = 1 + (int.from_bytes(digest) >> 2)  # below the largest offset of a file
        with self._held(place, fcntl.LOCK_EX | fcntl.LOCK_NB, thread):
            yield

    @contextmanager
    def _held(self, place: int, how: int, thread: str = "") -> Iterator[None]:
        try:
            fcntl.lockf(self._file, how, 1, place)
        except (BlockingIOError, PermissionError) as error:  # the two that POSIX allows
            raise InUse(
                f"thread {thread} of {self.name} is being run by {self._holder(place)}; wait for it, or name another "
                "--thread"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"checkpoint {self.name}: its file system gives no locks ({error.strerror}), which SQLite needs, too; "
                "name a file elsewhere"
            ) from error
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _holder(self, place: int) -> str:
        """Who holds a byte, as far as the kernel tells."""
        if sys.platform == "linux":
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(self._file, fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK and pid > 0:
                return f"process {pid}"
        return "another process"


_FLOCK = "hhqqi"  # struct flock of Linux: kind, whence, start, length, pid
