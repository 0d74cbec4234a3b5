"""python -m evals compare runs/A runs/B: B against A, setting by setting, on the problems and seeds that both have.

For every data set, method and n that both runs hold (or the one setting of each): the paired difference of accuracy,
and the ratio of mean FLOPs, tokens and seconds, B over A. Says which keys of config.json differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.report import stats
from evals.report.arms import Arm, Arms, by_arm, forward_flops, graded, quiet
from evals.report.cells import UNKNOWN, probability
from evals.report.markdown import quoted
from evals.report.pairs import Comparison, compared
from evals.report.text_table import TextTable
from evals.rows.lines import read_results
from evals.rows.row import Row
from evals.run.config import read_config
from evals.run.design import read_design
from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path
from gsi_node.host.shell import complain
from gsi_node.identity import differing

BRACKETS = (
    "Brackets are paired 95 % intervals, clustered by problem. Ratios are of means over the common rows without "
    "errors; seconds only where both runs had one problem in flight in one process."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.add_argument("first", type=named_path, metavar="A", help="a run's folder")
    parser.add_argument("second", type=named_path, metavar="B", help="another's")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the runs have nothing in common."""
    try:
        sys.stdout.write(compare(options.first, options.second))
    except ConfigError as error:
        complain(str(error))
        return 2
    return 0


def compare(first: Path, second: Path) -> str:
    """The comparison as Markdown. Raises ConfigError where no setting is in both runs, or no problem in both."""
    configs = read_config(first), read_config(second)
    read = read_results(first), read_results(second)
    a, b = (by_arm(results.rows)[0] for results in read)
    found = compared([(y, x) for x, y in _matched(a, b, first, second)], b, a)
    if not found:
        raise ConfigError(f"{first} and {second} have no problem and seed in common: were they run on the same data?")
    columns = ["setting", "pairs", "accuracy A", "accuracy B", "B − A, points", "better : worse", "p", "p (Holm)"]
    columns += ["FLOPs B/A", "tokens B/A", "seconds B/A"]
    unlike = differing(configs[0].settings(), configs[1].settings())
    told = [f"{one.name}: {json.dumps(one.there)} in A, {json.dumps(one.here)} in B" for one in unlike]
    notes = [f"Differing settings: {'; '.join(told) or 'none'}.", *_counts(a, b)]
    notes += [
        f"{folder}: its problems were drawn by a design, which nothing is weighed by here; `evals report` does."
        for folder in (first, second)
        if read_design(folder) is not None
    ]
    notes += [f"{name}: {note}" for name, results in zip("AB", read, strict=True) for note in results.notes]
    title = f"{second} (B) against {first} (A)"
    table = TextTable(title, columns, [_line(one, a[one.second], b[one.first]) for one in found], [*notes, BRACKETS])
    return f"# {quoted(title)}\n\n{table.markdown()}"


def _line(one: Comparison, a: Sequence[Row], b: Sequence[Row]) -> list[str]:
    """The cells of two arms' comparison."""
    x, y, difference = one.second, one.first, one.difference
    same = (x.method, x.n, x.temperature) == (y.method, y.n, y.temperature)
    graded_rows = _common([*filter(graded, a)], [*filter(graded, b)])
    rows_a, rows_b = _common(a, b)
    return [
        f"{x.data}: {x.label}" + ("" if same else f" → {y.label}"),
        f"{difference.problems} × {difference.rows / difference.problems:g}",
        *(f"{sum(row.correct is True for row in rows) / len(rows):.3f}" for rows in graded_rows),
        one.points,
        f"{difference.better} : {difference.worse}",
        probability(difference.p_value),
        probability(one.p_holm),
        *(_ratio(rows_a, rows_b, cost) for cost in (forward_flops, _tokens, _seconds)),
    ]


def _counts(a: Arms, b: Arms) -> list[str]:
    """Notes on errors and ungraded rows."""
    every = [[row for rows in arms.values() for row in rows] for arms in (a, b)]
    failed = [sum(row.error is not None for row in rows) for rows in every]
    unknown = [sum(not graded(row) for row in rows) for rows in every]
    told = [("Rows with errors, counted as wrong", failed), ("Ungraded rows, in no accuracy or difference", unknown)]
    return [f"{what}: {count[0]} in A, {count[1]} in B." for what, count in told if any(count)]


def _matched(a: Arms, b: Arms, first: Path, second: Path) -> list[tuple[Arm, Arm]]:
    """Arms with the same data, method, n and temperature; or the only one of each run."""
    if not a or not b:
        raise ConfigError(f"{first if not a else second} has no rows")
    common = [(arm, arm) for arm in a if arm in b]
    if common:
        return common
    if len(a) == len(b) == 1 and next(iter(a)).data == next(iter(b)).data:
        return [(next(iter(a)), next(iter(b)))]
    names = [", ".join(f"{s.data}: {s.method} n = {s.n} T = {s.temperature:g}" for s in arms) for arms in (a, b)]
    raise ConfigError(f"no setting is in both runs: {first} has {names[0]}; {second} has {names[1]}")


def _common(a: Sequence[Row], b: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of either whose problem and seed the other has, too."""
    keys = {(row.problem_id, row.seed) for row in a} & {(row.problem_id, row.seed) for row in b}
    first, second = ([row for row in rows if (row.problem_id, row.seed) in keys] for rows in (a, b))
    return first, second


def _tokens(row: Row) -> float | None:
    return float(sum(bill.generated_tokens + bill.scored_tokens for bill in row.usage.values()))


def _seconds(row: Row) -> float | None:
    return row.seconds if quiet(row) else None


def _ratio(a: Sequence[Row], b: Sequence[Row], cost: Callable[[Row], float | None]) -> str:
    """Σ cost of B / Σ cost of A over rows that succeeded in both, with a clustered interval; – where one is unknown."""
    table_a, table_b = ({(r.problem_id, r.seed): cost(r) for r in rows if r.error is None} for rows in (a, b))
    sums: dict[str, list[float]] = {}
    for key in filter(table_b.__contains__, table_a):  # in a fixed order: sums of floats depend on it
        x, y = table_a[key], table_b[key]
        if x is None or y is None:
            return UNKNOWN
        entry = sums.setdefault(key[0], [0.0, 0.0])
        entry[0] += x
        entry[1] += y
    if not sums or sum(x for x, _ in sums.values()) == 0:
        return UNKNOWN
    found = stats.mean([y for _, y in sums.values()], [x for x, _ in sums.values()])
    return f"{found.value:.2f}" + (f" [{found.low:.2f}, {found.high:.2f}]" if found.clusters > 1 else "")
