"""A few worker processes that can be killed at any moment. Threads share a pool; a forked process gets its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

from evals.graders.messages import GradeReply, GradeRequest
from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.needs import install_extra

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STALLED = 20.0
"""A worker has stalled that took so many times its limit, and START_SECONDS more, of wall time."""
MEGABYTES = 4096


def python_path() -> str:
    """Of a process that imports this package from here, whatever its folder."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))


class TimedOut(Exception):
    """A request took more processor time than its limit; its worker is gone."""


class ProcessDied(Exception):
    """A worker ended while it had a request, other than by the limit; or it stalled, and was killed."""


class Worker:
    """One process, started on first use and again after it was killed. Not thread-safe: one owner at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return None if self._process is None else self._process.pid

    def ask(self, request: GradeRequest, seconds: float) -> GradeReply:
        """The reply to one request. seconds: of processor time.

        Raises TimedOut or ProcessDied; the worker is then ready for the next one all the same.
        """
        process = self._running()
        line = json.dumps({**request, "seconds": seconds}).encode() + b"\n"
        try:
            answer = _exchange(process, line, START_SECONDS + STALLED * seconds)
        except BaseException:
            self.kill()
            raise
        reply: GradeReply = json.loads(answer)
        return reply

    def kill(self) -> None:
        """End the process, if this process is its parent."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            _end(process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        self.kill()
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "evals.graders.worker", str(MEGABYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=os.environ | {"PYTHONPATH": python_path()},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends its workers itself
        )
        weakref.finalize(self, _end_in, os.getpid(), self._process)
        try:
            _exchange(self._process, b"", START_SECONDS)
        except ProcessDied as error:
            self.kill()
            raise BackendUnavailable(
                f"the grading process does not start: try `{sys.executable} -m evals.graders.worker {MEGABYTES}` from "
                f"{ROOT}"
            ) from error
        except BaseException:
            self.kill()
            raise
        return self._process


class Pool:
    """`workers` processes, each started when it is first needed."""

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ConfigError(f"a pool needs at least one worker, not {workers}")
        self.workers = [Worker() for _ in range(workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self.workers:
            self._idle.put(worker)

    def ask(self, request: GradeRequest, seconds: float) -> GradeReply:
        """The reply of the first free worker, within `seconds` of processor time.

        Raises TimedOut, ProcessDied, or BackendUnavailable where none can start or a package is missing.
        """
        worker = self._idle.get()
        try:
            reply = worker.ask(request, seconds)
            if "ungraded" in reply:
                worker.kill()  # its memory is full, or it is in a state that nobody foresaw
        finally:
            self._idle.put(worker)
        if "missing" in reply:
            raise BackendUnavailable(f"grading needs a package: {reply['missing']}: {install_extra('evals')}")
        return reply

    def close(self) -> None:
        """End all processes. The pool can be used again afterwards."""
        for worker in self.workers:
            worker.kill()


def _exchange(process: subprocess.Popen[bytes], line: bytes, seconds: float) -> bytes:
    """Write a line, read one. Raises TimedOut where the process ended by its own clock, ProcessDied where it ended
    otherwise or has said nothing for `seconds` of wall time."""
    assert process.stdin is not None and process.stdout is not None
    end = time.monotonic() + seconds
    with contextlib.suppress(BrokenPipeError):
        while line:  # a worker between requests reads
            line = line[process.stdin.write(line) or 0 :]
    reply, poll = b"", select.poll()
    poll.register(process.stdout, select.POLLIN)
    while not reply.endswith(b"\n"):
        if not poll.poll(1000 * max(0.0, end - time.monotonic())):
            raise ProcessDied(f"the grading process said nothing for {seconds:g} s")
        part = os.read(process.stdout.fileno(), 1 << 16)
        if not part:
            raise TimedOut if process.wait() == -signal.SIGPROF else ProcessDied("the grading process died")
        reply += part
    return reply


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _end_in(owner: int, process: subprocess.Popen[bytes]) -> None:
    if owner == os.getpid():
        _end(process)
