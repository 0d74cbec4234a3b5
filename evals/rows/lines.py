"""results.jsonl: one JSON object a line, one line a (problem, method, n, seed), each with its checksum (sealed.py).

Reading refuses what is not a whole, undamaged row, naming file and line; `evals run --repair` drops such lines, and
makes their rows again. A last line without its end is what a kill or a lost disk cut off: the row is made again.
`evals pack` writes the same lines compressed.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from evals.rows.row import STANDINGS, Row, RowKey, Standing
from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.rows.shapes import first_fault
from gsi_node.errors import ConfigError
from gsi_node.host.strict_json import finite

RESULTS = "results.jsonl"
PACKED_RESULTS = RESULTS + ".xz"
TIMED_OUT = ("grading took longer than ", "the grading process died")
"""How rows of schema 1 say that nobody knows whether they are right; they call it wrong."""


@dataclass(slots=True)
class Results:
    """What a run folder holds. rows: one a key. unchecked: how many of them are of schema 1, which has no checksums.
    cut_off: what was said of each file whose last line has no end."""

    rows: list[Row] = field(default_factory=list)
    unchecked: int = 0
    cut_off: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What a reader of the rows must know."""
        if not self.unchecked:
            return list(self.cut_off)
        return [
            f"{self.unchecked} of {len(self.rows)} rows have no checksum: they are of before 2026-11-29, were "
            "graded by the rules of then, and damage in them may go unseen.",
            *self.cut_off,
        ]


def to_line(row: Row) -> bytes:
    """A row as one line of ASCII JSON with its checksum; NaN and the infinities become null."""
    record = {"schema": SCHEMA, **row.model_dump(exclude_unset=True)}
    return sealed(json.dumps(finite(record), allow_nan=False).encode())


def row_of(line: bytes, place: str) -> tuple[Row, bool]:
    """(the row of a whole line, whether it had a checksum). Raises ConfigError naming place and fault."""
    found, checked = unsealed(line, place, names=False)
    del found["schema"]
    try:
        row = Row.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{place}: not a row: {first_fault(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{place}: not a row: steps nested too deeply") from error
    if not checked and row.correct is False and (row.reason or "").startswith(TIMED_OUT):
        row = row.model_copy(update={"correct": None, "ungraded": row.reason, "reason": None})
    if (row.correct is None) != (row.standing != "graded"):
        raise ConfigError(f"{place}: not a row: correct is {row.correct}, but it is {row.standing}")
    return row, checked


def read_rows(folder: Path | str) -> list[Row]:
    """Every row of a run folder, one a key: of several the last, as a retried error leaves them.

    Raises ConfigError where the folder holds no results, or a line cannot be read.
    """
    return read_results(folder).rows


def read_results(folder: Path | str) -> Results:
    """The same, and what a reader must know of them."""
    found: dict[RowKey, tuple[Row, bool]] = {}
    results = Results()
    for row, checked, _ in whole_lines(folder, results.cut_off):
        before = found.get(row.key)
        if before is None or supersedes(row.standing, before[0].standing):
            found[row.key] = row, checked
    results.rows = [row for row, _ in found.values()]
    results.unchecked = sum(not checked for _, checked in found.values())
    return results


def supersedes(later: Standing, earlier: Standing) -> bool:
    """Of two rows with one key, whether the later one counts: not where it knows less."""
    return STANDINGS.index(later) >= STANDINGS.index(earlier)


def whole_lines(folder: Path | str, cut_off: list[str]) -> Iterator[tuple[Row, bool, bytes]]:
    """Every whole line of a run folder: its row, whether it had a checksum, the line. Others are told to `cut_off`.

    Raises ConfigError where the folder holds no results, or a line cannot be read.
    """
    files = results_in(folder)
    if not files:
        raise ConfigError(f"{folder}: no run folder (no {RESULTS} in it); name one that `python -m evals run` wrote")
    for file in files:
        for number, line in lines_of(file):
            if not line.endswith(b"\n"):
                cut_off.append(f"{file.name}: the last line has no end ({len(line)} bytes): it is not counted")
                continue
            try:
                row, checked = row_of(line, f"{file}, line {number}")
            except ConfigError as error:
                raise ConfigError(f"{error}; `python -m evals run … --repair` makes that row again") from error
            yield row, checked, line


def results_in(folder: Path | str) -> list[Path]:
    """The results files of a folder: one, or one a shard; or the packed one."""
    return [*sorted(Path(folder).glob("results*.jsonl")), *Path(folder).glob(PACKED_RESULTS)]


def lines_of(file: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1; only the last may have no end. Raises ConfigError where they cannot be read."""
    try:
        with lzma.open(file) if file.suffix == ".xz" else file.open("rb") as lines:
            yield from enumerate(lines, 1)
    except (lzma.LZMAError, EOFError) as error:
        raise ConfigError(f"{file}: damaged ({error}); take a whole copy") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from error
