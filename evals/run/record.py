"""The parts of a row that need no model: what it is about, a step's record as rows keep it, a row that failed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, TypedDict

from evals.data.problems import Grade
from evals.rows.row import Row, RowError
from evals.rows.sealed import SCHEMA
from evals.run.plan import Plan, Setting, Task
from gsi_node.errors import GSIError
from gsi_node.types import Plain


def blank_row(plan: Plan, setting: Setting, task: Task) -> Row:
    """The row of a task before it is solved."""
    problem = plan.problems[task.place]
    return {
        "schema": SCHEMA,
        "data": plan.data,
        "index": task.place,
        "problem_id": problem.id,
        "problem": problem.problem,
        "gold": problem.answer,
        "method": task.method,
        "n": task.n,
        "seed": task.seed,
        "temperature": plan.config(task.method, task.n, task.seed).temperature,
        "correct": None,
        "ungraded": None,
        "predicted": None,
        "reason": None,
        "response": "",
        "stop_reason": None,
        "acceptance_rate": None,
        "steps": [],
        "usage": {},
        "flops": {},
        "seconds": 0.0,
        "concurrency": setting.concurrency,
        "workers": setting.workers,
        "peak_memory_bytes": None,
        "calibration": None,
        "error": None,
        "worker": setting.worker,
    }


def failed_row(plan: Plan, setting: Setting, task: Task, error: BaseException) -> Row:
    """The row of a problem that could not be solved. What is no error of this package comes with its traceback."""
    told: RowError = {"type": type(error).__name__, "message": str(error)}
    if not isinstance(error, GSIError):
        told["traceback"] = "".join(traceback.format_exception(error))
    row = blank_row(plan, setting, task)
    row["error"] = told
    return row


class GradeFields(TypedDict):
    """The part of a row that its grade decides."""

    correct: bool | None
    ungraded: str | None
    predicted: str | None
    reason: str | None


def grade_fields(grade: Grade) -> GradeFields:
    """What a row says of its grade."""
    known = grade.correct is not None
    return {
        "correct": grade.correct,
        "ungraded": None if known else grade.reason or "no reason was given",
        "predicted": grade.predicted,
        "reason": grade.reason if known else None,
    }


def plain_step(record: Mapping[str, Any]) -> Plain:
    """A step's record as rows keep it: the number of its tokens in place of their ids, in candidates too."""
    step = {name: value for name, value in record.items() if name != "token_ids"}
    ids = record.get("token_ids")
    step["n_tokens"] = None if ids is None else len(ids)
    if record.get("rejected"):
        step["rejected"] = plain_step(record["rejected"])
    if record.get("candidates"):
        step["candidates"] = [plain_step(candidate) for candidate in record["candidates"]]
    return step
