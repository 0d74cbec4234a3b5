"""Writing a results file: whole lines, by one process, and what is damaged dropped where that is asked for.

A line is given to the system by one write on a descriptor opened with O_APPEND, so SIGKILL loses no finished row and
leaves no half of one; what a failing disk or machine cut off is dropped when the file is opened again. The file is
synchronised at most every SYNC_SECONDS and on closing: losing power may cost the rows of that time, never the file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from evals.rows.lines import lines_of, row_of
from gsi_node.bases import Closing
from gsi_node.errors import ConfigError, StorageError
from gsi_node.host.files import write
from gsi_node.posix import fcntl

SYNC_SECONDS = 5.0
DROPPED = "dropped-lines.txt"


class Appender(Closing):
    """A results file to which this process alone appends. A context manager.

    cut_off: bytes of a last line without an end that were dropped. dropped: what was said of each line that --repair
    dropped; the lines themselves are appended to dropped-lines.txt beside the file.
    """

    def __init__(self, path: Path, *, repair: bool = False) -> None:
        """Raises ConfigError where the file cannot be written, or another process writes it."""
        self.path = path
        self.dropped: list[str] = []
        self._file = self._locked()
        try:
            self.cut_off = self._drop_what_was_cut_off()
            if repair:
                self._repair()
        except BaseException:
            os.close(self._file)
            raise
        self._synced = time.monotonic()

    def append(self, line: bytes) -> None:
        """Add one line, whole or not at all. Raises StorageError: a full disk, or a limit on the size of files."""
        try:
            size = os.fstat(self._file).st_size
            try:
                written = os.write(self._file, line)
                if written != len(line):
                    raise OSError(f"only {written} of {len(line)} bytes could be written")
            except OSError:
                os.ftruncate(self._file, size)
                raise
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Synchronise and let go. Raises StorageError."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            os.close(self._file)

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path}: cannot be written ({error.strerror or error}); every row in it is whole: make room, and "
            "give the same command again"
        )

    def _locked(self) -> int:
        """A descriptor of the file, locked: of the one that is there now, should a repair have replaced it."""
        while True:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise ConfigError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(file)
                raise ConfigError(
                    f"{self.path}: another process is writing it; wait for it, or choose another --out"
                ) from error
            except OSError:
                return file  # a file system without locks
            try:
                if os.path.samestat(os.fstat(file), os.stat(self.path)):
                    return file
            except FileNotFoundError:
                pass  # removed meanwhile: make it again
            os.close(file)

    def _drop_what_was_cut_off(self) -> int:
        """Leave only whole lines: a row appended to half of another would be lost with it."""
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - (1 << 16))
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)
        return size - end

    def _repair(self) -> None:
        """Keep the lines that are rows; put the others, with what is wrong with them, into dropped-lines.txt."""
        kept, dropped = [], []
        for number, line in lines_of(self.path):
            try:
                row_of(line, f"{self.path}, line {number}")
                kept.append(line)
            except ConfigError as error:
                self.dropped.append(str(error))
                dropped.append(line)
        if not dropped:
            return
        beside = self.path.with_name(DROPPED)
        before = beside.read_bytes() if beside.exists() else b""
        write(beside, before + b"".join(dropped))
        write(self.path, b"".join(kept))  # from here on the lock is of a file without a name: take the new one's
        old, self._file = self._file, self._locked()
        os.close(old)
