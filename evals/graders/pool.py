"""A few worker processes that can be killed at any moment. Threads share a pool; a forked process gets its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from gsi_node.errors import BackendUnavailable, ConfigError

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
MEGABYTES = 4096


class TimedOut(Exception):
    """A request took longer than the limit; its worker was killed."""


class Died(Exception):
    """A worker ended while it had a request, other than by the limit."""


class Worker:
    """One process, started on first use and again after it was killed. Not thread-safe: one owner at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return None if self._process is None else self._process.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request. Raises TimedOut or Died; the worker is then ready for the next one all the same."""
        process = self._running()
        try:
            reply = self._exchange(process, json.dumps(request), self._seconds)
        except BaseException:
            self.kill()
            raise
        return dict(json.loads(reply))

    def kill(self) -> None:
        """End the process, if this process is its parent."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            _end(process)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        self.kill()
        self._owner = os.getpid()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "evals.graders.worker", str(self._seconds), str(MEGABYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends its workers itself
        )
        weakref.finalize(self, _end_in, os.getpid(), self._process)
        try:
            self._exchange(self._process, None, START_SECONDS)
        except (TimedOut, Died) as error:
            self.kill()
            raise BackendUnavailable(f"the grading process does not start: {_why_not()}") from error
        except BaseException:
            self.kill()
            raise
        return self._process

    @staticmethod
    def _exchange(process: subprocess.Popen[str], line: str | None, seconds: float) -> str:
        late = threading.Event()

        def expire() -> None:
            late.set()
            process.kill()

        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        reply = ""
        try:
            with contextlib.suppress(BrokenPipeError):
                if line is not None:
                    process.stdin.write(line + "\n")
                    process.stdin.flush()
                reply = process.stdout.readline()
        finally:
            timer.cancel()
        if reply.endswith("\n"):
            return reply
        raise TimedOut if late.is_set() else Died


class Pool:
    """`workers` processes, each started when it is first needed."""

    def __init__(self, workers: int, seconds: float) -> None:
        if workers < 1 or not 0 < seconds < float("inf"):
            raise ConfigError(f"a pool needs at least one worker and a limit, not workers={workers}, seconds={seconds}")
        self.workers = [Worker(seconds) for _ in range(workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self.workers:
            self._idle.put(worker)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply of the first free worker. Raises TimedOut, Died, or BackendUnavailable where none can start."""
        worker = self._idle.get()
        try:
            return worker.ask(request)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all processes. The pool can be used again afterwards."""
        for worker in self.workers:
            worker.kill()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _end_in(owner: int, process: subprocess.Popen[str]) -> None:
    if owner == os.getpid():
        _end(process)


def _why_not() -> str:
    try:
        import math_verify  # noqa: F401
    except ImportError:
        return "the package math-verify is missing: pip install 'gsi-node[evals]'"
    return f"try `{sys.executable} -m evals.graders.worker 5 {MEGABYTES}` from {ROOT}"
