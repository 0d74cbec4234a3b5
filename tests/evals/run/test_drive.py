"""The loop of a run by itself, over a pool and a clock of the test's own: what a deadline ends and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.data.problems import Problem
from evals.rows.appender import Appender
from evals.rows.lines import read_rows
from evals.rows.row import RowKey, Standing
from evals.run import drive as module
from evals.run.crew import Done, Event, WorkerReady
from evals.run.drive import drive
from evals.run.ledger import Ledger
from evals.run.plan import Plan, Task, Workplace
from evals.run.progress import RunMeter
from evals.run.record import blank_row

PLAN = Plan(
    data="made",
    problems=tuple(Problem(f"p{i}", "?", "7", "math") for i in range(6)),
    methods=("gsi",),
    ns=(2,),
    seeds=(0,),
    specs={"draft": "-", "base": "-", "reward": "-"},
    fields={},
    record="summary",
)


class Pool:
    """Two rows in flight; a wait takes a second of the clock and finishes one row."""

    def __init__(self) -> None:
        self.seconds, self.flying, self.stopped = 0.0, list[Task](), list[bool]()

    def monotonic(self) -> float:
        return self.seconds

    def room(self) -> bool:
        return self.seconds > 0 and len(self.flying) < 2

    def give(self, task: Task) -> None:
        self.flying.append(task)

    def wait(self, seconds: float) -> list[Event]:
        self.seconds += 1.0
        if not self.flying:
            return [WorkerReady({})]
        task = self.flying.pop(0)
        return [Done.of(task, blank_row(PLAN, Workplace(), task).model_copy(update={"correct": False}))]

    def stop(self, *, at_once: bool) -> None:
        self.stopped.append(at_once)


@pytest.mark.parametrize(
    ("deadline", "want", "late"),
    [
        (0.0, 0, True),  # over before anything began
        (2.0, 2, True),  # ready after one second; the two in flight are finished
        (3.5, 4, True),
        (6.5, 6, False),  # all had begun in time
        (None, 6, False),
    ],
)
def test_a_deadline_begins_no_row_and_finishes_those_in_flight(
    deadline: float | None, want: int, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, known = Pool(), dict[RowKey, Standing]()
    monkeypatch.setattr(module, "time", pool)
    with Appender(tmp_path / "results.jsonl") as appender:
        drive(lambda: pool, list(PLAN.tasks()), Ledger(PLAN, tmp_path, appender, RunMeter(6), known), deadline)
    assert (len(known) < len(list(PLAN.tasks()))) is late
    assert [row.problem_id for row in read_rows(tmp_path)] == [f"p{i}" for i in range(want)]
    assert len(known) == want
    assert pool.stopped == [False]
