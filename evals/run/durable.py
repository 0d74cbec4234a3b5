"""Files that the first of several processes makes, whole or not at all; they stay when the machine loses power."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gsi_node.errors import StorageError
from gsi_node.host.files import sync_folder


def write_new(file: Path, data: bytes) -> bool:
    """Make `file` with this content, synchronised; False where another process made it first. Raises StorageError."""
    draft = draft_of(file)
    try:
        _write(draft, data)
        try:
            os.link(draft, file)
        except FileExistsError:
            return False
        except FileNotFoundError:
            if not file.exists():
                raise
            return False  # who was first has cleared the drafts away
        sync_folder(file.parent)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return True


def draft_of(file: Path) -> Path:
    """Where this process writes what will become `file`."""
    return file.with_name(f".{file.name}.{os.getpid()}")


def is_draft(path: Path, name: str) -> bool:
    """Whether `path` is a draft of a file called `name`, which a killed process may leave."""
    return path.name.startswith(f".{name}.") and path.name.rpartition(".")[2].isdigit()


def _write(file: Path, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
