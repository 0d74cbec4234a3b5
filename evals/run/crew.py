"""Workers and what each has in hand: the bookkeeping that processes and Ray's actors share.

No library keeps it: concurrent.futures and loky break the whole pool when one process dies, multiprocessing.Pool loses
the task, and none gives one process several tasks at a time, nor says which it took with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Generic, NamedTuple, TypeVar

from evals.rows.lines import to_line
from evals.rows.row import Row, Standing
from evals.run.how import How
from evals.run.plan import Plan, Task, Workplace
from gsi_node.protocols import Reward, StepModel

Handle = TypeVar("Handle")


class WorkerReady(NamedTuple):
    """A worker has loaded its models; their fingerprints by role."""

    fingerprints: dict[str, str]


class Done(NamedTuple):
    """A row: the line to be written, its standing, and what its error says."""

    task: Task
    line: bytes
    standing: Standing
    error: str | None

    @classmethod
    def of(cls, task: Task, row: Row) -> Done:
        """A finished row as the driver wants it."""
        return cls(
            task, to_line(row), row.standing, None if row.error is None else f"{row.error.type}: {row.error.message}"
        )


class WorkerUnfit(NamedTuple):
    """A worker could not load its models."""

    message: str


class WorkerDied(NamedTuple):
    """A worker ended by itself; what it had in hand, and whether it had ever been ready."""

    worker: str
    code: int | None
    tasks: tuple[Task, ...]
    was_ready: bool


Event = WorkerReady | Done | WorkerUnfit | WorkerDied


@dataclass(slots=True)
class Member(Generic[Handle]):
    """A worker as its driver knows it."""

    name: str
    handle: Handle
    ready: bool = False
    tasks: list[Task] = field(default_factory=list)


class Crew(ABC, Generic[Handle]):
    """`size` workers for a plan. Tasks are given one by one, each worker holding at most `how.concurrency`.

    One that dies is replaced, where it had been ready: the next would die as it starts, too.
    """

    kind: str

    def __init__(self, plan: Plan, how: How, size: int) -> None:
        self.plan, self.how, self.size = plan, how, size
        self.members: list[Member[Handle]] = []
        self._started = 0

    def room(self) -> bool:
        """Whether some worker that is ready could take a task."""
        return self._freest() is not None

    def give(self, task: Task) -> None:
        """Hand a task to the worker with the most room."""
        member = self._freest()
        assert member is not None
        member.tasks.append(task)
        self._send(member, task)

    @abstractmethod
    def wait(self, seconds: float) -> list[Event]:
        """What happened, at the latest after `seconds`."""

    @abstractmethod
    def stop(self, *, at_once: bool) -> None:
        """End every worker: when its rows are done, or at once, whatever it is doing."""

    @abstractmethod
    def _begin(self, name: str, workplace: Workplace) -> Handle:
        """Start a worker, which will say that it is ready or unfit."""

    @abstractmethod
    def _send(self, member: Member[Handle], task: Task) -> None: ...

    def _fill(self) -> None:
        for _ in range(self.size):
            self._add()

    def _add(self) -> Member[Handle]:
        self._started += 1
        name = f"{self.kind}-{self._started}"
        member = Member(name, self._begin(name, self.how.workplace(name, self.size)))
        self.members.append(member)
        return member

    def _heard(self, member: Member[Handle], event: Event) -> Event:
        """Note what a worker said."""
        if isinstance(event, WorkerReady):
            member.ready = True
        elif isinstance(event, Done):
            member.tasks.remove(event.task)
        return event

    def _lost(self, member: Member[Handle], code: int | None) -> WorkerDied:
        """Note that a worker died, and replace it."""
        self.members.remove(member)
        if member.ready:
            self._add()
        return WorkerDied(member.name, code, tuple(member.tasks), member.ready)

    def _freest(self) -> Member[Handle] | None:
        able = [member for member in self.members if member.ready and len(member.tasks) < self.how.concurrency]
        return min(able, key=lambda member: len(member.tasks), default=None)


def resolve(name: str) -> Callable[[str, str], StepModel | Reward]:
    """The function "module:name"."""
    module, _, attribute = name.partition(":")
    found: Callable[[str, str], StepModel | Reward] = getattr(import_module(module), attribute)
    return found
