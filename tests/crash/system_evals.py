"""`evals run` over table models: its driver. The rows come ready from a file, since workers leave nothing of their own
behind (tests/crash/test_worker.py ends those)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from evals.rows.lines import read_rows
from evals.run import command as run
from evals.run import execute
from evals.run.crew import Done, Event, WorkerReady
from evals.run.how import How
from evals.run.plan import Plan, Task, Workplace
from evals.run.solve import Solver
from tests.evals.run.test_run import plain
from tests.evals.tables import command as evals_run
from tests.evals.tables import load_part, problems

READY = "rows.pickle"


class ReadyRows:
    """Workers whose rows were made before; one row a turn."""

    def __init__(self, file: Path) -> None:
        self._fingerprints, self._rows = pickle.loads(file.read_bytes())
        self._told: list[Event] = [WorkerReady(self._fingerprints)]

    def room(self) -> bool:
        return len(self._told) < 2

    def give(self, task: Task) -> None:
        self._told.append(self._rows[task])

    def wait(self, seconds: float) -> list[Event]:
        return [self._told.pop(0)] if self._told else []

    def stop(self, *, at_once: bool) -> None:
        self._told.clear()


def command(folder: Path) -> int:
    _replace(lambda *given: ReadyRows(folder.parent / READY))
    return evals_run(_arguments(folder))


def result(folder: Path, out: str) -> Any:
    """The rows, and how many lines hold them: none is written twice."""
    lines = (folder / "run" / "results.jsonl").read_bytes().splitlines()
    return plain(read_rows(folder / "run")), len(lines), sorted(path.name for path in (folder / "run").iterdir())


def prepare(work: Path) -> None:
    """Solve the plan's tasks, by what the workers use."""

    def solved(plan: Plan, how: How, size: int) -> Any:
        solver = Solver(plan, Workplace(), load_part)
        made: dict[Task, Done] = {}
        for task in plan.tasks():
            future = solver.submit(task)
            future.exception()
            made[task] = Done.of(task, solver.finished(task, future))
        (work / READY).write_bytes(pickle.dumps((solver.fingerprints(), made)))
        solver.close()
        return ReadyRows(work / READY)

    folder = work / "prepared"
    folder.mkdir()
    _replace(solved)
    assert evals_run(_arguments(folder)) == 0


def _replace(crew: Any) -> None:
    """The workers of the driver, for good: in a fork."""
    setattr(run, "warm_up", lambda *given: None)  # noqa: B010 - mypy knows the name as a function
    setattr(execute, "_crew", crew)  # noqa: B010


def _arguments(folder: Path) -> list[str]:
    file = folder.parent / "problems.jsonl"
    if not file.exists():
        problems(folder.parent, 3)
    return ["--data", str(file), "--methods", "gsi,majority-draft", "--n", "2", "--out", str(folder / "run")]
