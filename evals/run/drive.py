"""The loop of a run: tasks out to workers, rows in to the file, and what to do when a worker dies."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from evals.run.crew import Done, Event, WorkerDied, WorkerReady, WorkerUnfit
from evals.run.ledger import Ledger
from evals.run.plan import Task, Workplace
from evals.run.provenance import own_commit
from evals.run.record import blank_row, failed_row
from gsi_node.errors import BackendError, ConfigError

LIVES = 2
"""A task that was in hand when so many workers died is a failed row."""


class Hands(Protocol):
    """Workers, as the loop sees them (crew.py)."""

    def room(self) -> bool: ...
    def give(self, task: Task) -> None: ...
    def wait(self, seconds: float) -> list[Event]: ...
    def stop(self, *, at_once: bool) -> None: ...


def drive(hire: Callable[[], Hands], tasks: Sequence[Task], ledger: Ledger, deadline: float | None = None) -> None:
    """Make the rows of `tasks`; none is begun after the deadline (time.monotonic seconds).

    Raises ConfigError where the models cannot be loaded or are others than the folder's, BackendError where workers die
    as they start, StorageError on a full disk.
    """
    pending, flying = deque(tasks), 0
    deaths: Counter[Task] = Counter()

    def late() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    hands = hire()
    whole = False
    try:
        while flying or (pending and not late()):
            while pending and hands.room() and not late():
                hands.give(pending.popleft())
                flying += 1
            for event in hands.wait(0.5):
                match event:
                    case WorkerReady():
                        ledger.begin(event.fingerprints)
                    case Done():
                        flying -= 1
                        ledger.write(event)
                    case WorkerUnfit():
                        raise ConfigError(event.message)
                    case WorkerDied():
                        flying -= len(event.tasks)
                        told = f"worker {event.worker} died ({_how(event.code)})"
                        if not event.was_ready:
                            raise BackendError(f"{told} while it loaded the models; is there memory for all workers?")
                        ledger.meter.say(told)
                        deaths.update(event.tasks)
                        lost = [task for task in event.tasks if deaths[task] >= LIVES]
                        pending.extendleft(task for task in event.tasks if deaths[task] < LIVES)
                        for task in lost:
                            ledger.write(_failed(ledger, task, event))
        whole = True
    finally:
        hands.stop(at_once=not whole)


def _failed(ledger: Ledger, task: Task, death: WorkerDied) -> Done:
    error = BackendError(f"{LIVES} workers died with this row in hand, the last {_how(death.code)}")
    place = Workplace(worker=death.worker, commit=own_commit())
    return Done.of(task, failed_row(blank_row(ledger.plan, place, task), error))


def _how(code: int | None) -> str:
    return "unknown cause" if code is None else f"by signal {-code}" if code < 0 else f"exit code {code}"
