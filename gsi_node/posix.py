"""What POSIX systems have and others lack: locks on files, limits and figures of a process.

Whatever needs them imports them from here, so that elsewhere it is refused by a ConfigError which says so.
"""

from __future__ import annotations

from gsi_node.errors import ConfigError

try:
    import fcntl as fcntl
    import resource as resource
except ModuleNotFoundError as error:
    raise ConfigError(
        f"gsi_node needs a POSIX system, and this Python has no {error.name}: on Windows, run it under WSL"
    ) from error
