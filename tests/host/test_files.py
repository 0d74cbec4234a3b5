"""Files that appear whole: folders that cannot be synchronised, and those that should have been."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gsi_node.errors import StorageError
from gsi_node.host.files import write

WRITERS: list[Callable[[Path, bytes], object]] = [write]


def fails_on_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_synchronises_no_folder_is_used_all_the_same(
    writer: Callable[[Path, bytes], object], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_on_folders(monkeypatch, number)
    writer(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_fails_is_a_typed_error(
    writer: Callable[[Path, bytes], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_on_folders(monkeypatch, errno.EIO)
    with pytest.raises(StorageError, match="file: cannot be written"):
        writer(tmp_path / "file", b"whole")
