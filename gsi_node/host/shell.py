"""What a command owes the shell: streams that take every letter, an exit code, one line instead of a traceback.

0 done · 1 it failed under way (a model, a server, the disk) · 2 the call must be changed · 130 interrupted (Ctrl-C) ·
141 the reader of standard output went away · 143 terminated; docs/commands.md says what each command means by them.
"""

from __future__ import annotations

import argparse
import codecs
import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from gsi_node.errors import ConfigError, GSIError, StorageError
from gsi_node.host.escapes import one_line

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

DONE, FAILED, WRONG_CALL = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE, which Windows lacks

SPELT = {  # what our own texts use beyond ASCII, for a stream whose encoding lacks it
    "✓": "v",
    "✗": "x",
    "↻": "*",
    "·": "-",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "π": "pi",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "τ": "tau",
    "ω": "omega",
    "Σ": "sum",
    "ℓ": "l",
    "r̃": "r~",
    "\u0303": "~",
    "\u0304": "-",
    "²": "^2",
    "₂": "_2",
    "‖": "||",
    "∞": "inf",
    "“": '"',
    "”": '"',
}


def legible(error: UnicodeError) -> tuple[str, int]:
    """Error handler of an encoder: our own symbols spelt in ASCII, any other character as its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SPELT.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error("gsi_node.legible", legible)


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are one line and exit code 2; options cannot be abbreviated."""

    def __init__(self, *, prog: str | None = None, description: str | None = None, raw: bool = False) -> None:
        """raw: the lines of description and epilog stay as they are."""
        form = argparse.RawDescriptionHelpFormatter if raw else argparse.HelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=form, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        complain(f"{message} ({self.prog} --help lists the options)")
        raise SystemExit(WRONG_CALL)


def prepare() -> None:
    """Make the standard streams safe to write to and idle threads sleep, before anything is written or loaded.

    Letters that their encoding lacks are spelt out. A stream that the caller closed becomes the null device, so that no
    file is opened under its number; a closed standard output is refused (exit code 2). Ctrl-C ends with one line also
    while modules are being imported, and where Python would drop it: in a destructor, or a callback of its own. A
    system that is not POSIX is refused (exit code 2).

    OpenMP reads OMP_WAIT_POLICY once, when torch is imported. By default its idle threads spin, which takes the cores
    from other processes, and from its own other threads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        setattr(sys, name, _null(name))
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="gsi_node.legible")
    sys.excepthook = _quiet_when_interrupted
    sys.unraisablehook = _again_when_interrupted
    try:
        import_module("gsi_node.posix")
    except ConfigError as error:
        complain(str(error))
        raise SystemExit(WRONG_CALL) from error
    if "stdout" in closed:
        complain("standard output is closed; send it to /dev/null where nothing shall be shown")
        raise SystemExit(WRONG_CALL)


@contextmanager
def ending() -> Iterator[None]:
    """A command stands in this block, `with ending(): sys.exit(main())`; it is left by SystemExit with the exit code.

    A block that does not exit is left as usual, where standard output has taken all that was written.

    This package's own errors, errors of the operating system, and standard output that cannot take what was written
    are one line on standard error; any other exception is a fault of ours, and shows its traceback.
    """
    code: object = None
    prepare()
    try:
        yield
        if (unwritten := _flushed(DONE)) == DONE:
            return
        code = unwritten
    except SystemExit as stop:
        code = stop.code
    except KeyboardInterrupt:
        _warn("interrupted\n")
        code = INTERRUPTED
    except BrokenPipeError:
        code = BROKEN_PIPE
    except GSIError as error:
        complain(str(error))
        code = WRONG_CALL if isinstance(error, ConfigError) else FAILED
    except OSError as error:
        code = FAILED
        if _of_a_stream(error):
            _give_up(error)
        else:
            complain(str(error))
    if isinstance(code, str):
        complain(code)
        code = FAILED
    raise SystemExit(_flushed(code if isinstance(code, int) else DONE))


@contextmanager
def loading() -> Iterator[None]:
    """What cannot be loaded or reached at the start must be asked for differently: a ConfigError, thus exit code 2."""
    try:
        yield
    except (ConfigError, StorageError):
        raise
    except GSIError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def terminable() -> Iterator[Callable[[], int]]:
    """SIGTERM acts as Ctrl-C does in this block. Gives what tells the exit code of a KeyboardInterrupt in it."""
    terminated = False

    def on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield lambda: 128 + signal.SIGTERM if terminated else INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)


def complain(message: str) -> None:
    """An error as one line on standard error, control characters shown as escapes."""
    _warn(f"error: {one_line(message)}\n")


def _warn(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except OSError:  # nobody can be told; the exit code still says it
        _to_nowhere(sys.stderr)


def _of_a_stream(error: OSError) -> bool:
    """Whether it is a write to standard output that failed: of this package's own, writers of files name the file."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF)


def _flushed(code: int) -> int:
    """The exit code, after what was written has reached standard output."""
    try:
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
        return BROKEN_PIPE
    except OSError as error:
        _give_up(error)
        return code or FAILED


def _give_up(error: OSError) -> None:
    complain(f"standard output: {error.strerror or error}")
    _to_nowhere(sys.stdout)


def _to_nowhere(stream: TextIO) -> None:
    """The interpreter flushes once more as it ends: what could not be written goes nowhere then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _null(name: str) -> TextIO:
    """The null device on the lowest free descriptors, which are those of the closed streams."""
    return open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # kept open to the end


def _again_when_interrupted(told: UnraisableHookArgs) -> None:
    """Ctrl-C once more, a moment later: Python goes on after an exception in a destructor or a callback, such as those
    of every import."""
    if not issubclass(told.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(told)
        return
    threading.Thread(target=_interrupt_behind, args=(sys._getframe().f_code,), daemon=True).start()


def _interrupt_behind(hook: CodeType) -> None:
    """Ctrl-C to the main thread once it has left the hook: inside, Python would drop it again, and say no more."""
    main = cast(int, threading.main_thread().ident)
    while hook in [frame.f_code for frame, _ in traceback.walk_stack(sys._current_frames().get(main))]:
        time.sleep(0.01)
    signal.pthread_kill(main, signal.SIGINT)


def _quiet_when_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _warn("interrupted\n")
    raise SystemExit(INTERRUPTED)
