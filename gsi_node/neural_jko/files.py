"""The files of a run: written whole or not at all and synchronised, read with care, by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gsi_node.errors import ConfigError, InUse, StorageError

LOCK = "lock"
PART = ".part"  # the end of a file's name until it is whole


def write(path: Path, data: bytes | str) -> None:
    """Put this content in place of the file's; it outlives a loss of power. Raises StorageError: the file is as it was.

    A kill leaves at most NAME.part, which the next writer of the file writes over.
    """
    part = path.with_name(path.name + PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no such file. Raises ConfigError for anything else in it."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not what was written there: {error}; name another folder") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: want a JSON object, got {type(found).__name__}; name another folder")
    return found


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
