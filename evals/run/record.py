"""A row from its parts: what it is about, what the solver said, its grade, what it cost; or why there is none."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.data.problems import Grade
from evals.rows.row import Response, RoleBill, Row, RowError, VoteRecord
from evals.run.plan import Plan, Task, Workplace
from gsi_node.errors import GSIError
from gsi_node.host.strict_json import finite


@dataclass(frozen=True, slots=True)
class Cost:
    """What solving a row took; fields as in Row."""

    usage: dict[str, RoleBill]
    flops: dict[str, float]
    seconds: float
    models_seconds: float
    peak_memory_bytes: int


def blank_row(plan: Plan, workplace: Workplace, task: Task) -> Row:
    """The row of a task before it is solved."""
    problem = plan.problems[task.place]
    row = Row(
        data=plan.data,
        index=task.place,
        problem_id=problem.id,
        problem=problem.problem,
        gold=problem.answer,
        method=task.method,
        n=task.n,
        seed=task.seed,
        temperature=plan.config(task.method, task.n, task.seed).temperature,
        correct=None,
        ungraded=None,
        predicted=None,
        reason=None,
        response="",
        stop_reason=None,
        acceptance_rate=None,
        steps=[],
        usage={},
        flops={},
        seconds=0.0,
        concurrency=workplace.concurrency,
        workers=workplace.workers,
        peak_memory_bytes=None,
        calibration=None,
        error=None,
        worker=workplace.worker,
        commit=workplace.commit,
    )
    return row.model_copy(update={"shared": True}) if workplace.memo else row


def solved_row(blank: Row, chosen: Response, cost: Cost, grade: Grade, votes: list[VoteRecord] | None) -> Row:
    """The row of a solved problem. votes: of a majority method, whose rows have no acceptance rate."""
    update = dict(chosen) | {name: getattr(cost, name) for name in cost.__slots__}
    if votes is not None:
        update |= {"votes": votes, "acceptance_rate": None}
    return graded_row(blank.model_copy(update=update), grade)


def failed_row(blank: Row, error: BaseException) -> Row:
    """The row of a problem that could not be solved. What is no error of this package comes with its traceback."""
    told = RowError(type=type(error).__name__, message=str(error))
    if not isinstance(error, GSIError):
        told = told.model_copy(update={"traceback": "".join(traceback.format_exception(error))})
    return blank.model_copy(update={"error": told})


def graded_row(row: Row, grade: Grade) -> Row:
    """The row with this grade."""
    known = grade.correct is not None
    return row.model_copy(
        update={
            "correct": grade.correct,
            "ungraded": None if known else grade.reason or "no reason was given",
            "predicted": grade.predicted,
            "reason": grade.reason if known else None,
        }
    )


def response_of(state: Mapping[str, object]) -> Response:
    """What the graph's final state says, as rows keep it: of token ids their number, in candidates too."""
    steps = state["steps"]
    assert isinstance(steps, Sequence)
    wanted = {name: state[name] for name in Response.model_fields} | {"steps": [_kept(step) for step in steps]}
    return Response.model_validate(finite(wanted))


def _kept(record: Mapping[str, object]) -> dict[str, object]:
    step = {name: value for name, value in record.items() if name != "token_ids"}
    ids, rejected, candidates = (record.get(name) for name in ("token_ids", "rejected", "candidates"))
    step["n_tokens"] = len(ids) if isinstance(ids, Sequence) else None
    if isinstance(rejected, Mapping):
        step["rejected"] = _kept(rejected)
    if isinstance(candidates, Sequence):
        step["candidates"] = [_kept(candidate) for candidate in candidates]
    return step
