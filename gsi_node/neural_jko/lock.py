"""One process at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gsi_node.errors import ConfigError, InUse, StorageError
from gsi_node.posix import fcntl

LOCK = "lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder; the kernel gives it back when the process dies, however. Raises InUse where another holds it."""
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"{folder}: no folder to write in: {error.strerror or error}; name another") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            raise InUse(f"{folder}: process {pid} is at work there; wait for it, or name another folder") from error
        except OSError as error:
            raise ConfigError(f"{folder}: its file system gives no locks ({error.strerror}); name another") from error
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
        yield
    finally:
        os.close(file)
