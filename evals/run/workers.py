"""Worker processes: each with its own models and one torch thread, forked from a server that imported everything once.

The driver gives a worker as many tasks as it has rows in flight, and gets each row back as the line to be written. A
worker that dies is replaced and its tasks are given out again; the driver's own death ends them all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.run.plan import Plan, Setting, Task
from gsi_node.errors import GSIError

if TYPE_CHECKING:
    from evals.rows.row import Row, Standing

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_LOAD = "evals.run.solve:load_part"
IN_PROCESS = ("pocket", "hf:", "prm:")  # specs, also within others, whose models run here: torch is imported for them


class Ready(NamedTuple):
    """A worker has loaded its models; their fingerprints by role."""

    fingerprints: dict[str, str]


class Done(NamedTuple):
    """A row: the line to be written, its standing (evals/rows/row.py), and what its error says."""

    task: Task
    line: bytes
    standing: Standing
    error: str | None


class Unfit(NamedTuple):
    """A worker could not load its models."""

    message: str


class Died(NamedTuple):
    """A worker ended by itself; what it had in hand, and whether it had ever been ready."""

    worker: str
    code: int | None
    tasks: tuple[Task, ...]
    was_ready: bool


Event = Ready | Done | Unfit | Died


def warm_up(threads: int, specs: Iterable[str]) -> None:
    """Start the server that workers are forked from, which begins importing what `specs` need; returns at once."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    neural = any(kind in spec for spec in specs for kind in IN_PROCESS)
    multiprocessing.set_forkserver_preload(["evals.run.warm" if neural else "evals.run.solve"])
    forkserver.ensure_running()


def work(
    pipe: Connection[Any, Any], plan: Plan, setting: Setting, threads: int, load: str
) -> None:  # the body of a worker process
    """Load, say so, then solve what comes down the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    Thread(target=_die_with_the_driver, daemon=True).start()

    from evals.run.solve import Solver

    try:
        solver = Solver(plan, setting, resolve(load), threads)
        fingerprints = solver.fingerprints()
    except GSIError as error:
        pipe.send(Unfit(str(error)))
        return
    lock = Lock()

    def answer(task: Task, future: Future[Row]) -> None:
        message = done(task, solver.finished(task, future))
        with lock:
            pipe.send(message)

    pipe.send(Ready(fingerprints))
    while (task := pipe.recv()) is not None:
        solver.submit(task).add_done_callback(partial(answer, task))
    solver.close()


def done(task: Task, row: Row) -> Done:
    """A finished row as the driver wants it."""
    from evals.rows.lines import to_line

    error = row.error
    return Done(task, to_line(row), row.standing, None if error is None else f"{error.type}: {error.message}")


def resolve(name: str) -> Callable[[str, str], Any]:
    """The function "module:name"."""
    module, _, attribute = name.partition(":")
    found: Callable[[str, str], Any] = getattr(import_module(module), attribute)
    return found


def _die_with_the_driver() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@dataclass(slots=True)
class _Worker:
    name: str
    process: Any
    pipe: Connection[Any, Any]
    ready: bool = False
    tasks: list[Task] = field(default_factory=list)


class ProcessPool:
    """`count` workers. Tasks are given one by one, each worker holding at most `concurrency`."""

    def __init__(
        self,
        plan: Plan,
        *,
        count: int,
        concurrency: int,
        threads: int,
        row_seconds: float | None,
        load: str = DEFAULT_LOAD,
    ) -> None:
        self._about = (plan, count, concurrency, threads, row_seconds, load)
        self._workers: list[_Worker] = []
        self._started = 0
        warm_up(threads, plan.specs.values())
        for _ in range(count):
            self._start()

    def room(self) -> bool:
        """Whether some worker that is ready could take a task."""
        return self._freest() is not None

    def give(self, task: Task) -> None:
        """Hand a task to the worker with the most room."""
        worker = self._freest()
        assert worker is not None
        worker.tasks.append(task)
        self._send(worker, task)

    def wait(self, seconds: float) -> list[Event]:
        """What happened, at the latest after `seconds`."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        return [self._hear(by_pipe[pipe]) for pipe in connection.wait(list(by_pipe), seconds)]  # type: ignore[index]

    def stop(self, *, at_once: bool) -> None:
        """End every worker: when its rows are done, or at once, whatever it is doing."""
        for worker in self._workers:
            if at_once or not worker.ready:
                worker.process.terminate()
            else:
                self._send(worker, None)
        for worker in self._workers:
            worker.process.join(5.0)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _send(self, worker: _Worker, message: Task | None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died: `wait` will say so, with its tasks
            worker.pipe.send(message)

    def _freest(self) -> _Worker | None:
        ready = [worker for worker in self._workers if worker.ready and len(worker.tasks) < self._about[2]]
        return min(ready, key=lambda worker: len(worker.tasks), default=None)

    def _hear(self, worker: _Worker) -> Event:
        try:
            event: Event = worker.pipe.recv()
        except (EOFError, OSError):  # OSError: it died within a message, or the connection was reset
            return self._bury(worker)
        if isinstance(event, Ready):
            worker.ready = True
        elif isinstance(event, Done):
            worker.tasks.remove(event.task)
        return event

    def _bury(self, worker: _Worker) -> Died:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if worker.ready:
            self._start()
        return Died(worker.name, worker.process.exitcode, tuple(worker.tasks), worker.ready)

    def _start(self) -> None:
        plan, count, concurrency, threads, row_seconds, load = self._about
        self._started += 1
        name = f"process-{self._started}"
        setting = Setting(concurrency, count, name, row_seconds)
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=work, args=(theirs, plan, setting, threads, load), name=name)
        process.start()
        theirs.close()
        self._workers.append(_Worker(name, process, ours))
