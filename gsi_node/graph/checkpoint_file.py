"""A checkpoint file (SQLite) for a command line: opened with care, refused where it is something else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gsi_node.errors import ConfigError

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

TABLES = {"checkpoints", "writes"}


async def open_checkpoints(name: str) -> AsyncSqliteSaver:
    """The saver of a file, made where it does not exist. Close it with `await saver.conn.close()`.

    Raises ConfigError: the package is missing, the file cannot be read or written, or another program wrote it.
    """
    try:
        import aiosqlite
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"checkpoint files need the package {error.name}, which is not installed: pip install 'gsi-node[sqlite]'"
        ) from error
    _refuse_foreign(Path(name))
    try:
        connection = await aiosqlite.connect(name)
    except sqlite3.Error as error:
        raise ConfigError(f"checkpoint {name}: {error}") from error
    saver = AsyncSqliteSaver(connection)
    try:
        await saver.setup()
    except sqlite3.Error as error:
        await connection.close()
        raise ConfigError(f"checkpoint {name}: {error}") from error
    return saver


def _refuse_foreign(path: Path) -> None:
    """Look without writing: a new or empty file is fine, and so is one with LangGraph's tables."""
    if path.is_dir():
        raise ConfigError(f"checkpoint {path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"checkpoint {path}: there is no folder {path.parent}")
    try:
        if not path.exists() or path.stat().st_size == 0:
            return
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"checkpoint {path}: cannot be read: {error}") from error
    if tables and not tables >= TABLES:
        raise ConfigError(
            f"checkpoint {path}: an SQLite file of another program (tables {', '.join(sorted(tables)[:4])}); name "
            "another file"
        )
