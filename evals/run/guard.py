"""What a command that makes rows owes the shell: exit codes, one line instead of a traceback, and how to go on."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.shell import complain


def guarded(call: Callable[[], int]) -> int:
    """The exit code of a call that makes rows; of one that could not go on, with a line that says why."""
    terminated = False

    def on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        return call()
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; every finished row is kept. To go on:\n  {shlex.join(sys.orig_argv)}\n")
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except ConfigError as error:
        complain(str(error))
        return 2
    except (GSIError, OSError) as error:
        complain(str(error))
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)
