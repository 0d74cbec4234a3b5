"""python -m evals compare runs/A runs/B: B against A, setting by setting, on the problems and seeds that both have.

For every data set, method and n that both runs hold (or the one setting of each): the paired difference of accuracy,
and the ratio of mean FLOPs, tokens and seconds, B over A. Says which keys of config.json differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.report import stats
from evals.report.markdown import quoted
from evals.report.summary import paired, scores
from evals.report.tables import probability, table
from evals.report.tally import Row, Setting, by_setting, graded, quiet
from evals.rows.lines import read_results
from evals.run.folder import read_config
from gsi_node.errors import ConfigError
from gsi_node.host.shell import complain

Groups = Mapping[Setting, Sequence[Row]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.add_argument("first", type=Path, metavar="A", help="a run's folder")
    parser.add_argument("second", type=Path, metavar="B", help="another's")


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
    a, b = (by_setting(results.rows)[0] for results in read)
    found = []
    for x, y in _matched(a, b, first, second):
        difference = paired(scores(b[y]), scores(a[x]))
        if difference is not None:
            found.append((x, y, difference))
    if not found:
        raise ConfigError(f"{first} and {second} have no problem and seed in common: were they run on the same data?")
    adjusted = stats.holm([difference.p_value for _, _, difference in found])
    header = ["setting", "pairs", "accuracy A", "accuracy B", "B − A, points", "better : worse", "p", "p (Holm)"]
    header += ["FLOPs B/A", "tokens B/A", "seconds B/A"]
    body = []
    for (x, y, difference), p in zip(found, adjusted, strict=True):
        rows_a, rows_b = _common(a[x], b[y])
        graded_a, graded_b = _common([*filter(graded, a[x])], [*filter(graded, b[y])])
        body.append(
            [
                f"{x.data}: {x.method}, n = {x.n}" + ("" if x[1:] == y[1:] else f" → {y.method}, n = {y.n}"),
                f"{difference.problems} × {difference.rows / difference.problems:g}",
                *(f"{sum(row['correct'] is True for row in rows) / len(rows):.3f}" for rows in (graded_a, graded_b)),
                f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]",
                f"{difference.better} : {difference.worse}",
                probability(difference.p_value),
                probability(p),
                _ratio(rows_a, rows_b, _flops),
                _ratio(rows_a, rows_b, _tokens),
                _ratio(rows_a, rows_b, _seconds),
            ]
        )
    lines = [f"# {quoted(str(second))} (B) against {quoted(str(first))} (A)\n", table(header, body)]
    differing = _differing(*configs)
    lines.append("Differing settings: " + (quoted("; ".join(differing)) if differing else "none") + ".\n")
    failed = [sum(row["error"] is not None for group in groups.values() for row in group) for groups in (a, b)]
    if any(failed):
        lines.append(f"Rows with errors, counted as wrong: {failed[0]} in A, {failed[1]} in B.\n")
    unknown = [sum(not graded(row) for group in groups.values() for row in group) for groups in (a, b)]
    if any(unknown):
        lines.append(f"Ungraded rows, in no accuracy or difference: {unknown[0]} in A, {unknown[1]} in B.\n")
    for name, results in zip("AB", read, strict=True):
        lines += [f"{name}: {quoted(note)}\n" for note in results.notes]
    lines.append(
        "Brackets are paired 95 % intervals, clustered by problem. Ratios are of means over the common rows without "
        "errors; seconds only where both runs had one problem in flight in one process.\n"
    )
    return "\n".join(lines)


def _matched(a: Groups, b: Groups, first: Path, second: Path) -> list[tuple[Setting, Setting]]:
    """Settings with the same data, method, n and temperature; or the only one of each run."""
    if not a or not b:
        raise ConfigError(f"{first if not a else second} has no rows")
    common = [(setting, setting) for setting in a if setting in b]
    if common:
        return common
    if len(a) == len(b) == 1 and next(iter(a)).data == next(iter(b)).data:
        return [(next(iter(a)), next(iter(b)))]
    names = [", ".join(f"{s.data}: {s.method} n = {s.n} T = {s.temperature:g}" for s in groups) for groups in (a, b)]
    raise ConfigError(f"no setting is in both runs: {first} has {names[0]}; {second} has {names[1]}")


def _common(a: Sequence[Row], b: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    keys = {(row["problem_id"], row["seed"]) for row in a} & {(row["problem_id"], row["seed"]) for row in b}
    first, second = ([row for row in rows if (row["problem_id"], row["seed"]) in keys] for rows in (a, b))
    return first, second


def _flops(row: Row) -> float | None:
    if not row["flops"] or row["usage"].keys() - row["flops"].keys():
        return None
    return float(sum(row["flops"].values()))


def _tokens(row: Row) -> float | None:
    return float(sum(bill["generated_tokens"] + bill["scored_tokens"] for bill in row["usage"].values()))


def _seconds(row: Row) -> float | None:
    return float(row["seconds"]) if quiet(row) else None


def _ratio(a: Sequence[Row], b: Sequence[Row], cost: Callable[[Row], float | None]) -> str:
    """Σ cost of B / Σ cost of A over rows that succeeded in both, with a clustered interval; – where one is unknown."""
    table_a = {(row["problem_id"], row["seed"]): cost(row) for row in a if row["error"] is None}
    table_b = {(row["problem_id"], row["seed"]): cost(row) for row in b if row["error"] is None}
    sums: dict[str, list[float]] = {}
    for key in table_a.keys() & table_b.keys():
        x, y = table_a[key], table_b[key]
        if x is None or y is None:
            return "–"
        entry = sums.setdefault(key[0], [0.0, 0.0])
        entry[0] += x
        entry[1] += y
    if not sums or sum(x for x, _ in sums.values()) == 0:
        return "–"
    found = stats.mean([y for _, y in sums.values()], [x for x, _ in sums.values()])
    return f"{found.value:.2f}" + (f" [{found.low:.2f}, {found.high:.2f}]" if found.clusters > 1 else "")


def _differing(a: Any, b: Any, name: str = "") -> list[str]:
    """`key: value in A, value in B` of every leaf that differs."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        return [line for key in keys for line in _differing(a.get(key), b.get(key), f"{name}.{key}" if name else key)]
    return [] if a == b else [f"{name}: {json.dumps(a)} in A, {json.dumps(b)} in B"]
