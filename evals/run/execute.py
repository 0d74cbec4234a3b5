"""A plan carried out in a folder: what the command line and `evals tune` both call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from evals.rows.appender import Appender
from evals.rows.lines import read_rows
from evals.rows.row import Row
from evals.run.design import tasks_in
from evals.run.drive import Hands, drive
from evals.run.folder import check_folder, make, results_file
from evals.run.how import How
from evals.run.ledger import Ledger
from evals.run.plan import Plan, Task, remaining
from evals.run.progress import RunMeter, span
from evals.run.resume import grade_again, mended
from evals.run.workers import ProcessCrew


def execute(plan: Plan, folder: Path, how: How) -> list[Row]:
    """Make the rows of a plan that the folder lacks; returns all of the plan's rows that are then in it.

    Fewer than the plan's tasks where `how` gives a shard or minutes, or the folder holds a design (design.py). What
    happens is told on standard error. Raises ConfigError where folder or models do not fit, BackendError where workers
    cannot go on, StorageError where the disk cannot. Interrupted or failed, every finished row is kept, and the same
    call goes on.
    """
    check_folder(folder, plan, repair=how.repair)
    make(folder)
    with Appender(results_file(folder, how.shard), repair=how.repair) as appender:
        told = mended(appender, folder, repair=how.repair)
        rows, tasks = read_rows(folder), tasks_in(folder, plan, how)
        ledger = Ledger(plan, folder, appender, RunMeter(0), {row.key: row.standing for row in rows})
        left = remaining(tasks, plan, ledger.standings, how.retry_errors)
        for line in (*told, outline(plan, tasks, left)):
            ledger.meter.say(line)
        left = grade_again(rows, left, ledger)
        if left:
            _make(left, ledger, how)
    keys = set(map(plan.key, tasks))
    return [row for row in read_rows(folder) if row.key in keys]


def outline(plan: Plan, tasks: Sequence[Task], left: Sequence[Task]) -> str:
    """What a run is about, in a line."""
    return (
        f"{len(tasks)} rows: {len(plan.problems)} problems of {plan.data}, {len(plan.methods)} methods, n = "
        f"{', '.join(map(str, plan.ns))}, {len(plan.seeds)} seeds, record={plan.record}; {len(left)} to do"
    )


def _make(tasks: Sequence[Task], ledger: Ledger, how: How) -> None:
    meter, size = ledger.meter, how.crew_size(len(tasks))
    meter.total = len(tasks)
    deadline = None if how.minutes is None else time.monotonic() + 60 * how.minutes
    with meter:
        drive(lambda: _crew(ledger.plan, how, size), tasks, ledger, deadline)
    if meter.made:
        meter.say(f"{meter.made} rows in {span(meter.seconds)} ({meter.rate:.2f} rows/s)")


def _crew(plan: Plan, how: How, size: int) -> Hands:
    if how.ray is None:
        return ProcessCrew(plan, how, size)
    from evals.run.ray_shards import RayCrew

    return RayCrew(plan, how, size)
