"""results.jsonl: one JSON object a line, one line a (problem, method, n, seed), each with its checksum (sealed.py).

Reading refuses what is not a whole, undamaged row, naming file and line; `evals run --repair` drops such lines, and
makes their rows again. A last line without its end is what a kill or a lost disk cut off: the row is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NotRequired, Required

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from evals.rows.sealed import sealed, unsealed
from gsi_node.errors import ConfigError
from gsi_node.host.strict_json import finite
from gsi_node.types import Plain

RESULTS = "results.jsonl"
RowKey = tuple[str, str, int, int]

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Place = Annotated[int, Field(ge=0, lt=10**6)]  # a report on pocket makes every problem up to the last one's place again
Number = Annotated[float, Field(ge=-1e100, le=1e100)]  # squares of sums of them are finite
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
OPEN = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
TIMED_OUT = ("grading took longer than ", "the grading process died")
"""How rows of schema 1 say that nobody knows whether they are right; they call it wrong."""


@with_config(STRICT)
class RowError(TypedDict):
    """Why a row has no response. traceback: for errors that are not this package's own."""

    type: str
    message: str
    traceback: NotRequired[str]


@with_config(OPEN)
class Bill(TypedDict):
    """What a model was asked for a row."""

    generated_tokens: Count
    scored_tokens: Count
    calls: Count
    seconds: Number


@with_config(OPEN)
class ScanShape(TypedDict):
    """How a method that stops early ended (expgsi)."""

    n_scored: Count
    hit: bool
    n_clipped: Count


@with_config(OPEN)
class CandidateShape(TypedDict, total=False):
    """What reports read of a candidate; other fields are kept as they are."""

    text: str | None
    reward: Number | None
    log_ratio: Number | None
    tilted_reward: Number | None


@with_config(OPEN)
class StepShape(CandidateShape, total=False):
    """What they read of a step, or of a refused draft."""

    source: Required[str]
    accepted: bool | None
    ess: Number | None
    log_mean_weight: Number | None
    n_candidates: Count | None
    scan: ScanShape | None
    rejected: StepShape | None
    candidates: list[CandidateShape] | None


@with_config(STRICT)
class Row(TypedDict):
    """One problem solved once.

    index: place of the problem in the data set. correct: None where there is an error, or the grade is not known;
    ungraded then says why. predicted: the extracted answer; reason: why it is wrong, where more is known. steps: the
    node's records without token ids, each with n_tokens. usage: by role, generated_tokens, scored_tokens, calls,
    seconds. flops: by role (evals/run/cost.py); a role whose model does not tell is left out. seconds: wall seconds of
    solving, grading not included; models_seconds: those in which at least one model worked (rows of before 2026-11-26
    do not say). concurrency: problems in flight in the process, workers: processes; latency is claimed only where both
    are 1. peak_memory_bytes: of CUDA, or of the process. votes: of a majority method, answers with their voters.
    """

    schema: Whole
    data: str
    index: Place
    problem_id: str
    problem: str
    gold: str
    method: str
    n: Count
    seed: Whole
    temperature: Number
    correct: bool | None
    ungraded: NotRequired[str | None]
    predicted: str | None
    reason: str | None
    response: str
    stop_reason: str | None
    acceptance_rate: Number | None
    steps: list[Plain]
    usage: dict[str, Plain]
    flops: dict[str, Number]
    seconds: Number
    models_seconds: NotRequired[Number]
    concurrency: Count
    workers: Count
    peak_memory_bytes: Count | None
    calibration: None
    error: RowError | None
    worker: str
    votes: NotRequired[list[Plain]]


_ROW = TypeAdapter(Row)
_STEPS = TypeAdapter(list[StepShape])
_BILLS = TypeAdapter(dict[str, Bill])


@dataclass(slots=True)
class Results:
    """What a run folder holds. rows: one a key. unchecked: how many of them are of schema 1, which has no checksums.
    cut_off: what was said of each file whose last line has no end."""

    rows: list[Row] = field(default_factory=list)
    unchecked: int = 0
    cut_off: list[str] = field(default_factory=list)


def first_fault(error: ValidationError) -> str:
    """The first thing that a validation found: "field: what is wanted", short however deep the field lies."""
    found = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where if len(where) <= 60 else where[:60] + '…'}: {found['msg'][0].lower()}{found['msg'][1:]}"


def key_of(row: Row) -> RowKey:
    """What names a row."""
    return row["problem_id"], row["method"], row["n"], row["seed"]


def standing(row: Row) -> str:
    """ "error", "ungraded" or "graded"."""
    return "error" if row["error"] is not None else "ungraded" if row.get("ungraded") is not None else "graded"


STANDINGS = ("error", "ungraded", "graded")
"""Of two rows with one key the one further right counts; of equals the later."""


def to_line(row: Row) -> bytes:
    """A row as one line of ASCII JSON with its checksum; NaN and the infinities become null."""
    return sealed(json.dumps(finite(row), allow_nan=False).encode())


def row_of(line: bytes, place: str) -> tuple[Row, bool]:
    """(the row of a whole line, whether it had a checksum). Raises ConfigError naming place and fault."""
    found, checked = unsealed(line, place, names=False)
    row: Row = found  # type: ignore[assignment]
    try:
        _ROW.validate_python(row)
        _STEPS.validate_python(row["steps"])
        _BILLS.validate_python(row["usage"])
    except ValidationError as error:
        raise ConfigError(f"{place}: not a row: {first_fault(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{place}: not a row: steps nested too deeply") from error
    if not checked and row["correct"] is False and (row["reason"] or "").startswith(TIMED_OUT):
        row["correct"], row["ungraded"], row["reason"] = None, row["reason"], None
    row.setdefault("ungraded", None)
    if (row["correct"] is None) != (standing(row) != "graded"):
        raise ConfigError(f"{place}: not a row: correct is {row['correct']}, but it is {standing(row)}")
    return row, checked


def read_rows(folder: Path | str) -> list[Row]:
    """Every row of a run folder, one a key: of several the last, as a retried error leaves them.

    Raises ConfigError where the folder holds no results, or a line cannot be read.
    """
    return read_results(folder).rows


def read_results(folder: Path | str) -> Results:
    """The same, and what a reader must know of them."""
    files = results_in(folder)
    if not files:
        raise ConfigError(f"{folder}: no run folder (no {RESULTS} in it); name one that `python -m evals run` wrote")
    found: dict[RowKey, tuple[Row, bool]] = {}
    results = Results()
    for file in files:
        for number, line in lines_of(file):
            if not line.endswith(b"\n"):
                results.cut_off.append(f"{file.name}: the last line has no end ({len(line)} bytes): it is not counted")
                continue
            try:
                row, checked = row_of(line, f"{file}, line {number}")
            except ConfigError as error:
                raise ConfigError(f"{error}; `python -m evals run … --repair` makes that row again") from error
            before = found.get(key_of(row))
            if before is None or STANDINGS.index(standing(row)) >= STANDINGS.index(standing(before[0])):
                found[key_of(row)] = row, checked
    results.rows = [row for row, _ in found.values()]
    results.unchecked = sum(not checked for _, checked in found.values())
    return results


def unchecked(results: Results) -> list[str]:
    """A note where rows have no checksum."""
    if not results.unchecked:
        return []
    return [
        f"{results.unchecked} of {len(results.rows)} rows have no checksum: they are of before 2026-11-29, were "
        "graded by the rules of then, and damage in them may go unseen."
    ]


def results_in(folder: Path | str) -> list[Path]:
    """The results files of a folder: one, or one a shard."""
    return sorted(Path(folder).glob("results*.jsonl"))


def lines_of(file: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1; only the last may have no end. Raises ConfigError where they cannot be read."""
    try:
        with file.open("rb") as lines:
            yield from enumerate(lines, 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from error
