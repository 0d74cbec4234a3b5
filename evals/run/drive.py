"""The loop of a run: tasks out to workers, rows in to the file, and what to do when a worker dies."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from evals.rows.appender import Appender
from evals.rows.row import RowKey, Standing
from evals.run.folder import keep
from evals.run.plan import Plan, Setting, Task
from evals.run.progress import Meter
from evals.run.record import blank_row, failed_row
from evals.run.workers import Died, Done, Event, Ready, Unfit, done
from gsi_node.errors import BackendError, ConfigError

LIVES = 2
"""A task that was in hand when so many workers died is a failed row."""


class Pool(Protocol):
    """Workers, as the loop sees them."""

    def room(self) -> bool: ...
    def give(self, task: Task) -> None: ...
    def wait(self, seconds: float) -> list[Event]: ...
    def stop(self, *, at_once: bool) -> None: ...


def drive(
    make_pool: Callable[[], Pool],
    tasks: Sequence[Task],
    plan: Plan,
    folder: Path,
    appender: Appender,
    meter: Meter,
    known: dict[RowKey, Standing],
    deadline: float | None,
) -> bool:
    """Make the rows of `tasks`; whether the deadline (time.monotonic seconds) came first.

    known: the standing of rows by key; new ones are added. Raises ConfigError where the models cannot be loaded or are
    others than the folder's, BackendError where workers die as they start, StorageError on a full disk.
    """
    pending, flying = deque(tasks), 0
    deaths: Counter[Task] = Counter()

    def late() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    def write(row: Done) -> None:
        appender.append(row.line)
        known[plan.key(row.task)] = row.standing
        meter.row(row.error)

    pool = make_pool()
    whole = False
    try:
        while flying or (pending and not late()):
            while pending and pool.room() and not late():
                pool.give(pending.popleft())
                flying += 1
            for event in pool.wait(0.5):
                match event:
                    case Ready():
                        keep(folder, plan.identity(event.fingerprints))
                        meter.begin()
                    case Done():
                        flying -= 1
                        write(event)
                    case Unfit():
                        raise ConfigError(event.message)
                    case Died():
                        flying -= len(event.tasks)
                        told = f"worker {event.worker} died ({_how(event.code)})"
                        if not event.was_ready:
                            raise BackendError(f"{told} while it loaded the models; is there memory for all workers?")
                        meter.say(told)
                        deaths.update(event.tasks)
                        for task in event.tasks:
                            if deaths[task] < LIVES:
                                pending.appendleft(task)
                                continue
                            error = BackendError(
                                f"{LIVES} workers died with this row in hand, the last {_how(event.code)}"
                            )
                            blank = blank_row(plan, Setting(worker=event.worker), task)
                            write(done(task, failed_row(blank, error)))
        whole = True
    finally:
        pool.stop(at_once=not whole)
    return bool(pending)


def _how(code: int | None) -> str:
    return "unknown cause" if code is None else f"by signal {-code}" if code < 0 else f"exit code {code}"
