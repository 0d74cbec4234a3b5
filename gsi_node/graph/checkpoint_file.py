"""A checkpoint file (SQLite) for a command line: opened with care, refused where it is something else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gsi_node.errors import ConfigError, StorageError
from gsi_node.needs import install_extra

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

KEY = {"thread_id", "checkpoint_ns", "checkpoint_id"}
TABLES = {"checkpoints": KEY | {"checkpoint", "metadata"}, "writes": KEY | {"task_id", "idx", "channel", "value"}}
"""LangGraph's tables, and columns by which they are known."""
PATIENCE = 30.0  # seconds to wait for another process that is writing to the file


def check_file(name: str) -> None:
    """Look without writing. Raises ConfigError: a package is missing, the file cannot be read, or it is another's."""
    for package in ("aiosqlite", "langgraph.checkpoint.sqlite"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"checkpoint files need the package {error.name}, which is not installed: {install_extra('sqlite')}"
            ) from error
    _refuse_foreign(Path(name))


@contextmanager
def checkpoint_errors(name: object) -> Iterator[None]:
    """SQLite's own errors, named: StorageError of a full disk or a lock, ConfigError where the file is broken."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"checkpoint {name}: {error}") from error
    except sqlite3.Error as error:
        raise ConfigError(f"checkpoint {name}: {error}") from error


async def open_checkpoints(name: str) -> AsyncSqliteSaver:
    """The saver of a file, made where it does not exist, to be closed with close_checkpoints.

    It builds nothing from the file but what our states hold (StrictSerializer).
    Raises StorageError where the file cannot be written, ConfigError where it is broken.
    """
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from gsi_node.graph.serde import StrictSerializer

    with checkpoint_errors(name):  # absolute, since SQLite gives names such as :memory: a meaning
        connection = await aiosqlite.connect(Path(name).absolute(), timeout=PATIENCE)
        saver = AsyncSqliteSaver(connection, serde=StrictSerializer())
        try:
            await saver.setup()
        except BaseException:
            await connection.close()
            raise
    return saver


async def close_checkpoints(saver: AsyncSqliteSaver) -> None:
    """Close the file; a transaction that a cancelled task left open would keep it locked for this process."""
    await saver.conn.rollback()
    await saver.conn.close()


async def threads_of(saver: AsyncSqliteSaver) -> list[str]:
    """The threads of a file."""
    found = await saver.conn.execute_fetchall("SELECT DISTINCT thread_id FROM checkpoints WHERE checkpoint_ns = ''")
    return [str(thread) for (thread,) in found]


def is_finished(values: Mapping[str, Any], tasks: object) -> bool:
    """Whether a thread's run has ended: its state says so (`finished`); in files of 0.1.0, which do not: nothing is
    pending.

    LangGraph's `next` does not tell: it is empty, too, while the writes of the last tasks wait for their checkpoint.
    """
    mark = values.get("finished")
    return not tasks if mark is None else mark is True


def _refuse_foreign(path: Path) -> None:
    """A new or empty file is fine, and so is one with LangGraph's tables, or one of them."""
    if path.is_dir():
        raise ConfigError(f"checkpoint {path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"checkpoint {path}: there is no folder {path.parent}")
    try:
        if not path.exists() or path.stat().st_size == 0:
            return
        try:
            tables = _tables(path, "ro")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            tables = _tables(path, "rw")  # a process died within a transaction: SQLite takes its half back first
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"checkpoint {path}: cannot be read: {error}") from error
    same = {table: tables[table] >= columns for table, columns in TABLES.items() if table in tables}
    if tables and not (same and all(same.values())):  # one of the two is enough: a process died before the second
        others = sorted(table for table in tables if not same.get(table))
        raise ConfigError(
            f"checkpoint {path}: an SQLite file of another program (tables {', '.join(others[:4])}); name another file"
        )


def _tables(path: Path, mode: str) -> dict[str, set[str]]:
    """The names of a file's tables and their columns."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True)) as connection:
        found = connection.execute(
            "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        )
        tables: dict[str, set[str]] = {}
        for table, column in found:
            tables.setdefault(table, set()).add(column)
        return tables
