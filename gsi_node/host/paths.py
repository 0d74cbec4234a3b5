"""Names of files that users write."""

from __future__ import annotations

from pathlib import Path

from gsi_node.errors import ConfigError


def expanded(name: str | Path) -> Path:
    """`name` with its ~ expanded, whether or not there is such a file. Raises ConfigError where none can have this
    name: no such home, too long a name, a folder that must not be looked into."""
    try:
        path = Path(name).expanduser()
        path.is_file()  # raises where the system refuses the name itself
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{str(name)[:160]!r} cannot be read: {why}; give another path") from error
    return path
