"""Every place at which a process leaves something behind, numbered; and what may happen at the N-th of them.

A point stands before each SQLite statement and commit, and before each open for writing, write, fsync, link, rename,
unlink, mkdir and truncation of a file under one folder; a write has a second point, at which half of it is done.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

FATES = ("kill", "full", "sigint", "sigterm")
WRITING = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "COMMIT", "PRAGMA")


class Points:
    """A count of points, and a fate at the N-th (0: none). Once the disk is full it stays so.

    fate: "kill", "full" (of the disk), "sigint" or "sigterm" (the process sends it to itself, and goes on).
    """

    def __init__(self, folder: Path, at: int = 0, fate: str = "kill") -> None:
        assert fate in FATES
        self.folder, self.at, self.fate = str(folder.resolve()), at, fate
        self.seen: list[str] = []
        self._lock = threading.RLock()

    def reach(self, what: str, half: Callable[[], object] | None = None, *, writes: bool = True) -> None:
        """Pass a point, or meet the fate. half: does half of what follows."""
        with self._lock:
            self.seen.append(what)
            here = len(self.seen)
            if self.fate == "full":
                if 0 < self.at <= here and writes:
                    if what.startswith("sql"):
                        raise sqlite3.OperationalError("database or disk is full")
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return
            if here == self.at:
                self._meet()
            if half is not None:
                self.seen.append(f"half {what}")
                if here + 1 == self.at:
                    if self.fate == "kill":
                        half()
                    self._meet()

    def _meet(self) -> None:
        if self.fate == "kill":
            os._exit(137)
        os.kill(os.getpid(), signal.SIGINT if self.fate == "sigint" else signal.SIGTERM)

    def inside(self, path: Any) -> bool:
        """Whether a path or descriptor lies in the folder."""
        try:
            name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.abspath(os.fsdecode(path))
        except (OSError, TypeError):
            return False
        return name.startswith(self.folder + "/") or name == self.folder

    def install(self) -> None:
        """Put the points into this process, for good."""
        for name in ("link", "rename", "replace", "unlink", "remove", "mkdir", "truncate", "ftruncate", "fsync"):
            setattr(os, name, self._before(name, getattr(os, name)))
        os.write = self._write(os.write)
        os.open = self._opening(os.open)
        io.open = builtins.open = self._file(io.open)
        sqlite3.connect = self._connect(sqlite3.connect)

    def _before(self, name: str, real: Any) -> Any:
        def counted(path: Any, *given: Any, **named: Any) -> Any:
            if self.inside(path):
                self.reach(name)
            return real(path, *given, **named)

        return counted

    def _write(self, real: Any) -> Any:
        def counted(file: int, data: Any) -> Any:
            if self.inside(file):
                self.reach("write", lambda: real(file, bytes(data)[: len(data) // 2]))
            return real(file, data)

        return counted

    def _opening(self, real: Any) -> Any:
        def counted(path: Any, flags: int, *given: Any, **named: Any) -> Any:
            if flags & (os.O_CREAT | os.O_TRUNC) and self.inside(path):
                self.reach("open")
            return real(path, flags, *given, **named)

        return counted

    def _file(self, real: Any) -> Any:
        def counted(path: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+") or not self.inside(path):
                return real(path, mode, *given, **named)
            if not isinstance(path, int):
                self.reach("open")
            return _Watched(real(path, mode, *given, **named), self)

        return counted

    def _connect(self, real: Any) -> Any:
        points = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *given: Any) -> Any:
                points.reach_sql(sql)
                return super().execute(sql, *given)

            def executemany(self, sql: str, *given: Any) -> Any:
                points.reach_sql(sql)
                return super().executemany(sql, *given)

            def executescript(self, script: str) -> Any:
                for statement in script.split(";"):
                    if statement.strip():
                        points.reach_sql(statement.strip())
                        super().executescript(statement)
                return self

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def commit(self) -> None:
                points.reach_sql("COMMIT")
                super().commit()

            def close(self) -> None:
                points.reach("sql close", writes=False)
                super().close()

        def counted(*given: Any, **named: Any) -> Any:
            self.reach("sql connect", writes=False)
            return real(*given, **{**named, "factory": Connection})

        return counted

    def reach_sql(self, sql: str) -> None:
        verb = sql.split(maxsplit=1)[0].upper()
        self.reach(f"sql {verb}", writes=verb in WRITING)


class _Watched:
    """A file opened for writing: what is written and not yet flushed is lost with the process."""

    def __init__(self, file: Any, points: Points) -> None:
        self._file, self._points = file, points

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._points.reach("write", half)
        return self._file.write(data)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._points.reach("flush")
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._points.reach("close")
        self._file.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
