"""python -m evals pace runs/NAME: wall seconds a committed token, every method against one, problem by problem.

  python -m evals run --data gsm8k --limit 20 --methods gsi,sbon-base --n 4,16 --out runs/NAME
  gsi bench --models DRAFT,BASE,REWARD --n 4,16 --prefix 256 --json sizes.json
  python -m evals pace runs/NAME --sizes sizes.json

A run takes the methods in turn at every problem, and goes on where it was stopped. Only rows with one problem in flight
in one process count. Ratios are of sums over the common problems, with a paired bootstrap interval over these. --sizes:
beside them what the parts of a step make of the ratio at the acceptance that was seen, prompts aside.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from evals.report.arms import Arm, by_arm, clustered, decided, quiet
from evals.report.cells import UNKNOWN, known
from evals.report.stats import LEVEL
from evals.report.text_table import TextTable
from evals.rows.lines import read_results
from evals.rows.row import Row
from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path
from gsi_node.host.shell import complain
from gsi_node.tools.bench_sizes import SizesRecord, read_sizes

RESAMPLES = 9999
COLUMNS = ("setting", "problems", "s a token", "of {}", "ratio", "accepted", "tokens a step", "of {}", "predicted")


@dataclass(frozen=True, slots=True)
class Pace:
    """Two methods on the problems that both solved. first, second: seconds a committed token; ratio: first / second,
    with its 95 % interval, None of one problem. acceptance: of the first, None where it refuses nothing; first_step,
    second_step: tokens of a committed step."""

    problems: int
    first: float
    second: float
    low: float | None
    high: float | None
    acceptance: float | None
    first_step: float
    second_step: float

    @property
    def ratio(self) -> float:
        """Of seconds a token."""
        return self.first / self.second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pace`."""
    parser.add_argument("folder", type=named_path, help="a run's folder, as given to `evals run --out`")
    parser.add_argument("--against", default="sbon-base", metavar="METHOD", help="default sbon-base")
    parser.add_argument("--sizes", type=named_path, metavar="FILE", help="of `gsi bench --models … --json FILE`")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the folder holds nothing to compare."""
    try:
        sizes = None if options.sizes is None else read_sizes(options.sizes)
        sys.stdout.write(paces(options.folder, options.against, sizes).markdown())
    except ConfigError as error:
        complain(str(error))
        return 2
    return 0


def paces(folder: Path, against: str, sizes: SizesRecord | None) -> TextTable:
    """One line a method and n. Raises ConfigError."""
    rows = [row for row in read_results(folder).rows if row.error is None]
    arms, _ = by_arm(filter(quiet, rows))
    lines = [
        _line(arm, paced(arms[arm], arms[other]), against, sizes)
        for arm in arms
        for other in arms
        if other.method == against != arm.method and (arm.data, arm.n, arm.temperature) == _place(other)
    ]
    if not lines:
        told = ", ".join(arm.label for arm in arms) or "none"
        loud = f"; {len(rows)} rows in all, those made with several in flight left out" if rows else ""
        raise ConfigError(f"{folder}: no method beside {against} at one n; rows whose seconds count: {told}{loud}")
    title = f"seconds a committed token, {folder}"
    return TextTable(title, [column.format(against) for column in COLUMNS], lines)


def _place(arm: Arm) -> tuple[str, int, float]:
    return arm.data, arm.n, arm.temperature


def paced(first: Sequence[Row], second: Sequence[Row]) -> Pace:
    """On the problems and seeds that both have. Raises ConfigError where there are none, or nothing was committed."""
    keys = {(row.problem_id, row.seed) for row in first} & {(row.problem_id, row.seed) for row in second}
    order = sorted(keys)
    both = [{(row.problem_id, row.seed): row for row in rows} for rows in (first, second)]
    common = [[rows[key] for key in order] for rows in both]
    spent = [np.array(clustered(rows, lambda row: row.seconds, _tokens)) for rows in common]
    if not order or not all(sums[1].sum() > 0 for sums in spent):
        raise ConfigError("no problem that both methods have, or no token committed on them: nothing to compare")
    rates = [float(sums[0].sum() / sums[1].sum()) for sums in spent]
    low, high = interval(np.concatenate(spent))
    verdicts = [step.accepted for row in common[0] for step in decided(row) if step.accepted is not None]
    refuses = any(step.rejected is not None for row in common[0] for step in decided(row))
    steps = [sum(map(_tokens, rows)) / sum(len(row.steps) for row in rows) for rows in common]
    return Pace(
        problems=spent[0].shape[1],
        first=rates[0],
        second=rates[1],
        low=low,
        high=high,
        acceptance=sum(verdicts) / len(verdicts) if refuses else None,
        first_step=steps[0],
        second_step=steps[1],
    )


def _tokens(row: Row) -> int:
    return sum(step.n_tokens or 0 for step in row.steps)


def interval(sums: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Of (Σ s₁ / Σ t₁) / (Σ s₂ / Σ t₂) over problems drawn anew: the percentile bootstrap (Efron 1979).

    sums: (4, problems), the rows s₁, t₁, s₂, t₂: seconds and tokens of each method. None of one problem.
    """
    if sums.shape[1] < 2:
        return None, None

    def ratio(*drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        s1, t1, s2, t2 = (values.sum(axis=axis) for values in drawn)
        return np.asarray((s1 / t1) / (s2 / t2))

    found = scipy_stats.bootstrap(
        tuple(sums),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _line(arm: Arm, pace: Pace, against: str, sizes: SizesRecord | None) -> list[str]:
    within = "" if pace.low is None else f" [{pace.low:.2f}, {pace.high:.2f}]"
    predicted = []
    if sizes is not None and (arm.method, against) == ("gsi", "sbon-base") and pace.acceptance is not None:
        for cell in sizes.cells:
            if cell.n == arm.n:
                ratio = cell.seconds.gsi(pace.acceptance) / cell.seconds.sbon_base
                predicted.append(f"{ratio:.2f} (prefix {cell.prefix}, {cell.tokens} tokens)")
    return [
        f"{arm.data}: {arm.label}",
        str(pace.problems),
        f"{pace.first:.4g}",
        f"{pace.second:.4g}",
        f"{pace.ratio:.2f}{within}",
        known(pace.acceptance, ".2f"),
        f"{pace.first_step:.1f}",
        f"{pace.second_step:.1f}",
        ", ".join(predicted) or UNKNOWN,
    ]
