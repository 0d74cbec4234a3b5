"""Worker processes: each with its own models and one torch thread, forked from a server that imported everything once.

The driver gives a worker as many tasks as it has rows in flight, and gets each row back as the line to be written. A
worker that dies is replaced and its tasks are given out again; the driver's own death ends them all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from threading import Lock, Thread
from typing import NamedTuple, TypeAlias

from evals.graders.pool import python_path
from evals.rows.row import Row
from evals.run.crew import Crew, Done, Event, Member, WorkerReady, WorkerUnfit, resolve
from evals.run.how import How
from evals.run.plan import Plan, Task, Workplace
from gsi_node.errors import GSIError

IN_PROCESS = ("pocket", "hf:", "prm:")  # specs, also within others, whose models run here: torch is imported for them
Pipe: TypeAlias = "Connection[object, object]"


def warm_up(threads: int, specs: Iterable[str]) -> None:
    """Start the server that workers are forked from, which begins importing what `specs` need; returns at once."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["PYTHONPATH"] = python_path()
    neural = any(kind in spec for spec in specs for kind in IN_PROCESS)
    heavy = "evals.run.warm" if neural else "evals.run.solve"
    multiprocessing.set_forkserver_preload(["evals.run.ignore_interrupt", heavy])
    resource_tracker.ensure_running()  # where the next line begins it, it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server begins with it blocked
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(pipe: Pipe, plan: Plan, workplace: Workplace, threads: int, load: str) -> None:
    """The body of a worker process: load, say so, then solve what comes down the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    Thread(target=_die_with_the_driver, daemon=True).start()

    from evals.run.solve import Solver

    try:
        solver = Solver(plan, workplace, resolve(load), threads)
        fingerprints = solver.fingerprints()
    except GSIError as error:
        pipe.send(WorkerUnfit(str(error)))
        return
    lock = Lock()

    def answer(task: Task, future: Future[Row]) -> None:
        message = Done.of(task, solver.finished(task, future))
        with lock:
            pipe.send(message)

    pipe.send(WorkerReady(fingerprints))
    while isinstance(task := pipe.recv(), Task):
        solver.submit(task).add_done_callback(partial(answer, task))
    solver.close()


def _die_with_the_driver() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


class PipedProcess(NamedTuple):
    """A worker process and our end of its pipe."""

    process: ForkServerProcess
    pipe: Pipe


class ProcessCrew(Crew[PipedProcess]):
    """Workers that are processes of this machine."""

    kind = "process"

    def __init__(self, plan: Plan, how: How, size: int) -> None:
        super().__init__(plan, how, size)
        warm_up(how.threads, plan.specs.values())
        self._fill()

    def wait(self, seconds: float) -> list[Event]:
        by_pipe = {member.handle.pipe: member for member in self.members}
        ready = connection.wait(list(by_pipe), seconds)
        return [self._hear(by_pipe[pipe]) for pipe in ready if isinstance(pipe, Connection)]

    def stop(self, *, at_once: bool) -> None:
        for member in self.members:
            if at_once or not member.ready:
                member.handle.process.terminate()
            else:
                self._send(member, None)
        for process, pipe in (member.handle for member in self.members):
            process.join(5.0)
            if process.exitcode is None:
                process.kill()
                process.join()
            pipe.close()
        self.members.clear()

    def _send(self, member: Member[PipedProcess], task: Task | None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died: `wait` will say so, with its tasks
            member.handle.pipe.send(task)

    def _hear(self, member: Member[PipedProcess]) -> Event:
        process, pipe = member.handle
        try:
            event = pipe.recv()
        except (EOFError, OSError):  # OSError: it died within a message, or the connection was reset
            process.join()
            pipe.close()
            return self._lost(member, process.exitcode)
        assert isinstance(event, Event)
        return self._heard(member, event)

    def _begin(self, name: str, workplace: Workplace) -> PipedProcess:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("forkserver")
        process = context.Process(
            target=work, args=(theirs, self.plan, workplace, self.how.threads, self.how.load), name=name
        )
        process.start()
        theirs.close()
        return PipedProcess(process, ours)
