"""results.jsonl: one JSON object a line, one line a (problem, method, n, seed). Written whole, read forgivingly.

A line is given to the system by one write on a descriptor opened with O_APPEND, so SIGKILL loses no finished row and
leaves no half of one; what a failing disk or machine cut off is dropped when the file is opened again. The file is
synchronised at most every SYNC_SECONDS and on closing: losing power may cost the rows of that time, never the file.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NotRequired, Self, TypedDict

from gsi_node.cli.output import finite
from gsi_node.errors import ConfigError

SCHEMA = 1
SYNC_SECONDS = 5.0
RESULTS = "results.jsonl"
Plain = dict[str, Any]
RowKey = tuple[str, str, int, int]


class RowError(TypedDict):
    """Why a row has no response. traceback: for errors that are not this package's own."""

    type: str
    message: str
    traceback: NotRequired[str]


class Row(TypedDict):
    """One problem solved once.

    index: place of the problem in the data set. correct: None where there is an error. predicted: the extracted
    answer; reason: why it is wrong, where more is known. steps: the node's records without token ids, each with
    n_tokens. usage: by role, generated_tokens, scored_tokens, calls, seconds. flops: by role (evals/cost.py); a role
    whose model does not tell is left out. seconds: wall seconds of solving, grading not included; models_seconds: those
    in which at least one model worked (rows of before 2026-11-26 do not say). concurrency: problems
    in flight in the process, workers: processes; latency is claimed only where both are 1. peak_memory_bytes: of CUDA,
    or of the process. votes: of a majority method, answers with their voters.
    """

    schema: int
    data: str
    index: int
    problem_id: str
    problem: str
    gold: str
    method: str
    n: int
    seed: int
    temperature: float
    correct: bool | None
    predicted: str | None
    reason: str | None
    response: str
    stop_reason: str | None
    acceptance_rate: float | None
    steps: list[Plain]
    usage: dict[str, Plain]
    flops: dict[str, float]
    seconds: float
    models_seconds: NotRequired[float]
    concurrency: int
    workers: int
    peak_memory_bytes: int | None
    calibration: None
    error: RowError | None
    worker: str
    votes: NotRequired[list[Plain]]


def key_of(row: Row) -> RowKey:
    """What names a row."""
    return row["problem_id"], row["method"], row["n"], row["seed"]


def to_line(row: Row) -> bytes:
    """A row as one line of ASCII JSON; NaN and the infinities become null."""
    return json.dumps(finite(row), allow_nan=False).encode() + b"\n"


def read_rows(folder: Path | str) -> list[Row]:
    """Every row of a run folder, one a key: of several the last, as a retried error leaves them.

    Raises ConfigError where the folder holds no results, or a line that is not the last cannot be read.
    """
    files = sorted(Path(folder).glob("results*.jsonl"))
    if not files:
        raise ConfigError(f"{folder}: no run folder (no {RESULTS} in it); name one that `python -m evals run` wrote")
    found: dict[RowKey, Row] = {}
    for file in files:
        for row in _rows_in(file):
            before = found.get(key_of(row))
            if before is None or before["error"] is not None or row["error"] is None:
                found[key_of(row)] = row
    return list(found.values())


def _rows_in(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return  # cut off
            try:
                found: Any = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{file}, line {number}: not a row: {error}; remove that line") from error
            if not isinstance(found, dict) or found.get("schema") != SCHEMA:
                raise ConfigError(f"{file}, line {number}: not a row of schema {SCHEMA}; remove that line")
            row: Row = found  # type: ignore[assignment]
            yield row


class Appender:
    """A results file to which this process alone appends. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file cannot be written, or another process writes it."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise ConfigError(f"{path}: another process is writing it; wait for it, or choose another --out") from error
        except OSError:
            pass  # a file system without locks
        self._drop_what_was_cut_off()
        self._synced = time.monotonic()

    def append(self, line: bytes) -> None:
        """Add one line, whole or not at all. Raises OSError (a full disk)."""
        size = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(f"{self.path}: only {written} of {len(line)} bytes could be written; is the disk full?")
        except OSError:
            os.ftruncate(self._file, size)
            raise
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def close(self) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drop_what_was_cut_off(self) -> None:
        """Leave only whole lines: a row appended to half of another would be lost with it."""
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - (1 << 16))
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)
