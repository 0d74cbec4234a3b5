"""What a reader can open in report.html: every row, with as much of its steps as the page's size allows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.report.arms import Arms, quiet
from evals.rows.row import CandidateRecord, Row, StepRecord

VERDICT, ANSWER, STEPS, CANDIDATES = range(4)
LONGEST = 4000  # characters of a text shown at level ANSWER
NAMES = {"text": "t", "reward": "r", "log_ratio": "l", "tilted_reward": "rt"}
MORE = NAMES | {"ess": "e", "log_mean_weight": "w", "n_candidates": "n", "source": "src"}
PageData = dict[str, object]  # what the page's script reads, JSON-plain


@dataclass(frozen=True, slots=True)
class Details:
    """data: what the page's script reads. notes: what had to be left out."""

    data: PageData
    notes: list[str]


@dataclass(slots=True)
class _Place:
    """A row on the page: of which arm, and with how much detail so far, in characters of JSON."""

    arm: int
    row: Row
    level: int = VERDICT
    detail: PageData | None = None
    length: int = 0


def details(arms: Arms, limit: int) -> Details:
    """Rows with their details, in about `limit` bytes of JSON.

    First every row gets its answer; then, problem by problem in their order, its steps; then their candidates.
    """
    places = [_Place(arm, row) for arm, rows in enumerate(arms.values()) for row in rows]
    places.sort(key=lambda one: (one.row.data, one.row.index, one.row.problem_id, one.arm, one.row.seed))
    first = {(one.row.data, one.row.problem_id): one.row for one in reversed(places)}
    names = list(dict.fromkeys((one.row.data, one.row.problem_id) for one in places))
    several = len({data for data, _ in names}) > 1
    problems = [
        {"id": f"{data}: {id}" if several else id, "problem": row.problem, "gold": row.gold}
        for (data, id), row in ((name, first[name]) for name in names)
    ]
    _fill(places, limit - len(json.dumps(problems)))
    numbers = {name: number for number, name in enumerate(names)}
    told: PageData = {
        "arms": [{"method": arm.name, "n": arm.n} for arm in arms],
        "problems": problems,
        "rows": [
            {
                "p": numbers[one.row.data, one.row.problem_id],
                "s": one.arm,
                "seed": one.row.seed,
                "c": "ungraded" if one.row.standing == "ungraded" else one.row.correct,
                "d": one.detail,
            }
            for one in places
        ],
    }
    return Details(told, list(_left_out(places, limit)))


def _fill(places: Sequence[_Place], room: int) -> None:
    """Give each row its answer, then its steps, then their candidates, as far as the room goes."""
    for level in (ANSWER, STEPS, CANDIDATES):
        for one in places:
            if one.level < level - 1:
                continue
            detail = _detail(one.row, level)
            length = len(json.dumps(detail, separators=(",", ":")))
            if length - one.length <= room:
                room -= length - one.length
                one.level, one.detail, one.length = level, detail, length


def _detail(row: Row, level: int) -> PageData:
    found: PageData = {
        "predicted": _clip(row.predicted),
        "reason": _clip(row.reason),
        "ungraded": _clip(row.ungraded),
        "stop": row.stop_reason,
        "acceptance": row.acceptance_rate,
        "seconds": None if row.shared else row.seconds,
        "quiet": quiet(row),
        "error": None if row.error is None else _clip(f"{row.error.type}: {row.error.message}"),
    }
    if level >= STEPS and row.steps:
        found["steps"] = [_step(step, level) for step in row.steps]
    else:
        found["response"] = _clip(row.response)
        if row.steps:
            found["cut"] = "The steps were left out to bound the size of this page; results.jsonl has them."
    return found


def _step(step: StepRecord, level: int) -> PageData:
    found = _named(step, MORE)
    if step.accepted_by:
        found["by"] = step.accepted_by
    if step.rejected:
        found["x"] = _step(step.rejected, level)
    if level >= CANDIDATES and step.candidates:
        found["k"] = [_named(one, NAMES) for one in step.candidates]
        same = [i for i, one in enumerate(step.candidates) if all(getattr(one, k) == getattr(step, k) for k in NAMES)]
        found["i"] = same[0] if same else None
    return found


def _named(record: CandidateRecord, names: dict[str, str]) -> PageData:
    """Its fields by their short names."""
    values = {short: getattr(record, name) for name, short in names.items()}
    return {short: round(value, 4) if isinstance(value, float) else value for short, value in values.items()}


def _clip(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text):,} characters)"


def _left_out(places: Sequence[_Place], limit: int) -> Iterator[str]:
    """Notes about what did not fit, and about what the run did not record."""
    without = sum(one.level < STEPS and bool(one.row.steps) for one in places)
    kept = {id(one): any(step.candidates is not None for step in one.row.steps) for one in places}
    fewer = sum(kept[id(one)] and one.level == STEPS for one in places)
    size = f"this page holds about {limit / 1e6:g} MB of details (--page-megabytes)"
    if without:
        yield f"The steps of {without} of {len(places)} rows are not shown: {size}. results.jsonl has them."
    if fewer:
        yield f"The candidates of {fewer} of {len(places)} rows are not shown: {size}. results.jsonl has them."
    if not any(kept.values()) and any(one.row.steps for one in places):
        yield "Candidates were not recorded in this run (--record candidates keeps them)."
