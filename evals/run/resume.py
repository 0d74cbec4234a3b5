"""Before a run goes on: what was damaged is dropped where that is asked for, and what is ungraded is graded again."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path

from evals.graders.grading import Grader, check_installed
from evals.rows.appender import DROPPED, Appender
from evals.rows.row import Row, RowKey, key_of, results_in, standing, to_line
from evals.rows.sealed import SCHEMA
from evals.run.plan import MAJORITY, Plan, Task
from evals.run.progress import Meter
from evals.run.record import grade_fields


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


def grade_again(
    rows: Sequence[Row],
    tasks: Sequence[Task],
    plan: Plan,
    appender: Appender,
    done: MutableMapping[RowKey, str],
    meter: Meter,
) -> list[Task]:
    """Grade the responses of ungraded rows, which no model needs to write again, and add the rows that are now graded.

    Returns the tasks that are left for the models: of a majority only the winner's response was kept, so its rows are
    made again. Raises StorageError.
    """
    places = {plan.key(task): task.place for task in tasks}
    again = [
        row for row in rows if standing(row) == "ungraded" and row["method"] not in MAJORITY and key_of(row) in places
    ]
    if not again:
        return list(tasks)
    check_installed({plan.problems[places[key_of(row)]].kind for row in again})
    with Grader(seconds=plan.grading_seconds) as grader:
        for row in again:
            grade = grader.grade(plan.problems[places[key_of(row)]], row["response"])
            if grade.correct is not None:
                now: Row = {**row, "schema": SCHEMA, **grade_fields(grade)}
                appender.append(to_line(now))
                done[key_of(now)] = standing(now)
    meter.say(f"{len(again)} ungraded rows: {sum(done[key_of(row)] == 'graded' for row in again)} are graded now")
    regraded = {key_of(row) for row in again}
    return [task for task in tasks if plan.key(task) not in regraded]
