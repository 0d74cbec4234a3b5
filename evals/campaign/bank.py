"""python -m evals bank runs/bank: what can be said of the samples of a run without writing more.

  python -m evals run --methods draft,base --n 1 --seeds 0,1,2,3 --limit 240 … --out runs/bank
  python -m evals verifiers runs/bank --reward prm:FOLDER --reward verifier
  python -m evals bank runs/bank

Of every method with one candidate and k seeds: one sample, the answer of most of them, the best by each reward that
`evals verifiers` has asked about all of them, and whether any is right (pass@k). Intervals are over problems.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from evals.report import stats
from evals.report.arms import graded
from evals.report.cells import estimate
from evals.report.text_table import TextTable
from evals.rows.lines import read_rows
from evals.rows.row import Row, RowKey
from evals.rows.verdicts import read_verdicts
from gsi_node.core.choose import vote
from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path
from gsi_node.host.shell import complain

BankedRows = Mapping[str, Sequence[Row]]
"""Those of one method, by problem, by rising seed."""
COLUMNS = ("samples of", "taken", "problems", "accuracy")
NOTE = (
    "Brackets are 95 % intervals over problems. Majority: right answers are one answer, others are told apart by their "
    "text; of equally many the first given. Best: of equally good ones the mean; a response without a verdict is last."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bank`."""
    parser.add_argument("folder", type=named_path, help="a run's folder, as given to `evals run --out`")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the folder holds no samples."""
    try:
        sys.stdout.write(table(options.folder).markdown())
    except ConfigError as error:
        complain(str(error))
        return 2
    return 0


def samples(folder: Path) -> dict[str, BankedRows]:
    """By method, the graded rows with n = 1. Raises ConfigError where no method has two of one problem."""
    found: defaultdict[str, defaultdict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(filter(graded, read_rows(folder)), key=lambda row: (row.index, row.seed)):
        if row.n == 1:
            found[row.method][row.problem_id].append(row)
    several = {name: of for name, of in found.items() if any(len(rows) > 1 for rows in of.values())}
    if not several:
        raise ConfigError(f"{folder}: no method with one candidate has several seeds; run --n 1 --seeds 0,1,2,3")
    return dict(several)


def table(folder: Path) -> TextTable:
    """One line a method and way of taking a sample. Raises ConfigError."""
    lines, notes = [], [NOTE]
    values: defaultdict[str, dict[RowKey, float]] = defaultdict(dict)
    for line in read_verdicts(folder).values():
        key = line.problem_id, line.method, line.n, line.seed
        values[line.spec or line.reward][key] = -math.inf if line.value is None else line.value
    for method, of in samples(folder).items():
        asked = [row.key for rows in of.values() for row in rows if row.error is None]
        ways: dict[str, Callable[[Sequence[Row]], float]] = {"one": _one, f"majority of {_most(of)}": _majority}
        for spec, known in values.items():
            missing = sum(key not in known for key in asked)
            if missing:
                notes.append(f"{spec} was not asked about {missing} responses of {method}: evals verifiers goes on.")
            else:
                ways[f"best of {_most(of)} by {spec}"] = _best(known)
        ways[f"any of {_most(of)}"] = _any
        for way, value in ways.items():
            shares = [value(rows) for rows in of.values()]
            lines.append((method, way, str(len(of)), estimate(stats.proportion(shares, [1] * len(shares)))))
    return TextTable(f"Bank {folder}", COLUMNS, lines, notes)


def _most(of: BankedRows) -> int:
    return max(map(len, of.values()))


def _one(rows: Sequence[Row]) -> float:
    """Of a random one."""
    return fmean(row.correct is True for row in rows)


def _any(rows: Sequence[Row]) -> float:
    return float(any(row.correct is True for row in rows))


def _majority(rows: Sequence[Row]) -> float:
    """Of the answer that most of them give; of none, of the first."""
    answers = ["right" if row.correct else row.predicted and f"wrong: {row.predicted}" for row in rows]
    ballots = vote([answer or None for answer in answers], lambda one, other: one == other)
    return float(rows[ballots[0].voters[0] if ballots else 0].correct is True)


def _best(known: Mapping[RowKey, float]) -> Callable[[Sequence[Row]], float]:
    def best(rows: Sequence[Row]) -> float:
        values = [known.get(row.key, -math.inf) for row in rows]
        return _one([row for row, value in zip(rows, values, strict=True) if value == max(values)])

    return best
