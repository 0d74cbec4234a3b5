"""Files that are there whole or not at all, and stay when the machine loses power; JSON files read with care."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gsi_node.errors import ConfigError, StorageError
from gsi_node.host.strict_json import parsed
from gsi_node.posix import fcntl

PART = ".part"  # the end of a file's name until it is whole


def write(path: Path, data: bytes | str) -> None:
    """Put this content in place of the file's; it outlives a loss of power. Raises StorageError: the file is as it was.

    A kill leaves at most NAME.part, which the next writer of the file writes over.
    """
    raw = data.encode() if isinstance(data, str) else data
    path = Path(os.path.realpath(path))  # a link stays a link
    part = path.with_name(path.name + PART)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(raw)  # a device or a pipe, which nothing may take the place of
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among processes that lock this folder, waiting for its turn; the kernel gives it back when one dies.

    On a file system without locks nothing is waited for. Raises OSError where there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a loss of power. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system on which no folder can be synchronised
            raise
    finally:
        os.close(descriptor)


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no such file. Raises ConfigError for anything else in it."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    found = parsed(raw, str(path))
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: want a JSON object, got {type(found).__name__}; name another")
    return found
