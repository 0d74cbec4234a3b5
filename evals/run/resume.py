"""Before a run goes on: what was damaged is dropped where that is asked for, and what is ungraded is graded again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evals.graders.grading import Grader, check_installed
from evals.rows.appender import DROPPED, Appender
from evals.rows.lines import results_in
from evals.rows.row import Row, said
from evals.run.ledger import Ledger
from evals.run.plan import MAJORITY, Task
from evals.run.record import graded_row


def mended(appender: Appender, folder: Path, *, repair: bool) -> list[str]:
    """What was dropped of the folder's results files, a line each; with `repair`, of the other shards' too.

    Raises ConfigError where another process writes one of those.
    """
    told = _told(appender)
    for file in results_in(folder) if repair else ():
        if file != appender.path:
            with Appender(file, repair=True) as other:
                told += _told(other)
    return told


def _told(appender: Appender) -> list[str]:
    told = [f"dropped ({DROPPED} has it): {line}" for line in appender.dropped]
    if appender.cut_off:
        told.append(f"dropped: the last line of {appender.path}, which had no end ({appender.cut_off} bytes)")
    return told


def grade_again(rows: Sequence[Row], tasks: Sequence[Task], ledger: Ledger) -> list[Task]:
    """Grade the responses of ungraded rows, which no model needs to write again, and add the rows that are now graded.

    Returns the tasks that are left for the models: of a majority only the winner's response was kept, so its rows are
    made again. Raises StorageError.
    """
    plan, standings = ledger.plan, ledger.standings
    places = {plan.key(task): task.place for task in tasks}
    again = [row for row in rows if row.standing == "ungraded" and row.method not in MAJORITY and row.key in places]
    if not again:
        return list(tasks)
    check_installed({plan.problems[places[row.key]].kind for row in again})
    with Grader(seconds=plan.grading_seconds) as grader:
        for row in again:
            grade = grader.grade(plan.problems[places[row.key]], said(row))
            if grade.correct is not None:
                ledger.write_again(graded_row(row, grade))
    ledger.meter.say(
        f"{len(again)} ungraded rows: {sum(standings[row.key] == 'graded' for row in again)} are graded now"
    )
    regraded = {row.key for row in again}
    return [task for task in tasks if plan.key(task) not in regraded]
