"""What a command that makes rows owes the shell: exit codes, one line instead of a traceback, and how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable

from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.shell import FAILED, WRONG_CALL, complain, terminable


def guarded(call: Callable[[], int]) -> int:
    """The exit code of a call that makes rows; of one that could not go on, with a line that says why."""
    with terminable() as code:
        try:
            return call()
        except KeyboardInterrupt:
            sys.stderr.write(f"interrupted; every finished row is kept. To go on:\n  {shlex.join(sys.orig_argv)}\n")
            return code()
        except (GSIError, OSError) as error:
            complain(str(error))
            return WRONG_CALL if isinstance(error, ConfigError) else FAILED
