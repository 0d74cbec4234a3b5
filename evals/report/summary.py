"""The summary of a run: every number of the report, JSON-plain, computed once from the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

from evals.report import stats
from evals.report.reliability import reliability
from evals.report.tally import Row, Setting, by_setting, graded, quiet, tally
from gsi_node.errors import ConfigError
from gsi_node.types import Plain

SCHEMA = 1
Scores = Mapping[str, Mapping[int, bool]]  # problem id → seed → correct


def summarise(rows: Sequence[Row], *, reference: str | None = None, data_seed: int = 0) -> Plain:
    """Settings, pairwise differences with Holm-adjusted p-values, reward calibration, Pareto fronts, notes.

    reference: compare only with this method, so that the correction is for fewer comparisons. data_seed: that of
    pocket's problems. Raises ConfigError where there are no rows, or none of that method.
    """
    every, superseded = by_setting(rows)
    if not every:
        raise ConfigError("there are no rows to report on: has the run finished any problem? (results.jsonl is empty)")
    groups = {setting: group for setting, group in every.items() if any(map(graded, group))}
    if not groups:
        raise ConfigError("no row is graded: the same `evals run` tries again, --grading-seconds S gives more time")
    methods = {setting.method for setting in groups}
    if reference is not None and reference not in methods:
        raise ConfigError(f"--reference {reference}: the run has no rows of it, only of {', '.join(sorted(methods))}")
    latest = [row for group in groups.values() for row in group]
    settings = [tally(setting, group) for setting, group in groups.items()]
    return {
        "schema": SCHEMA,
        "level": stats.LEVEL,
        "rows": len(latest),
        "errors": sum(row["error"] is not None for row in latest),
        "ungraded": sum(not graded(row) for group in every.values() for row in group),
        "settings": settings,
        "pairs": differences(groups, reference),
        "calibration": reliability(latest, data_seed),
        "pareto": fronts(settings),
        "notes": [*notes(groups, superseded), *unknown(every), *scans(settings)],
    }


def scores(rows: Sequence[Row]) -> Scores:
    """problem id → seed → whether the answer was right (an error is not); ungraded rows are left out."""
    found: defaultdict[str, dict[int, bool]] = defaultdict(dict)
    for row in filter(graded, rows):
        found[row["problem_id"]][row["seed"]] = row["correct"] is True
    return found


def paired(first: Scores, second: Scores) -> stats.Difference | None:
    """First minus second over the problems and seeds that both have; None where they share none."""
    differences, pairs = [], []
    for problem in first.keys() & second.keys():
        seeds = first[problem].keys() & second[problem].keys()
        differences.append(sum(int(first[problem][s]) - int(second[problem][s]) for s in seeds))
        pairs.append(len(seeds))
    return stats.paired_difference(differences, pairs) if sum(pairs) else None


def comparable(settings: Sequence[Setting], reference: str | None) -> list[tuple[Setting, Setting]]:
    """The pairs worth a test: one data set and temperature, two methods, equal n, or one of them has only one n."""
    counts: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for setting in settings:
        counts[(setting.data, setting.method)].add(setting.n)
    pairs = [
        (a, b)
        for a, b in combinations(settings, 2)
        if (a.data, a.temperature) == (b.data, b.temperature)
        and a.method != b.method
        and (a.n == b.n or 1 in (len(counts[(a.data, a.method)]), len(counts[(b.data, b.method)])))
        and (reference is None or reference in (a.method, b.method))
    ]
    return sorted(pairs, key=lambda pair: (pair[0].order[:3], pair[1].order[:3], pair[0].n, pair[1].n))


def differences(groups: Mapping[Setting, Sequence[Row]], reference: str | None = None) -> list[Plain]:
    """Paired differences of accuracy, with p-values corrected (Holm) for all the comparisons of the report."""
    table = {setting: scores(rows) for setting, rows in groups.items()}
    found = [(a, b, paired(table[a], table[b])) for a, b in comparable(list(groups), reference)]
    tested = [(a, b, difference) for a, b, difference in found if difference is not None]
    adjusted = stats.holm([difference.p_value for _, _, difference in tested])
    return [
        {
            "data": a.data,
            "first": f"{a.method}, n = {a.n}",
            "second": f"{b.method}, n = {b.n}",
            **asdict(difference),
            "p_holm": p,
        }
        for (a, b, difference), p in zip(tested, adjusted, strict=True)
    ]


def fronts(settings: Sequence[Plain]) -> dict[str, dict[str, list[int]]]:
    """By data set: the indices of the settings that nothing beats in accuracy at the same or a lower cost.

    By FLOPs, and by seconds; the latter among latencies only, where there are any.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for data in dict.fromkeys(setting["data"] for setting in settings):
        here = [i for i, setting in enumerate(settings) if setting["data"] == data]
        found[data] = {}
        for cost in ("flops", "seconds"):
            known = [i for i in here if settings[i][cost] is not None]
            if cost == "seconds":
                known = [i for i in known if settings[i]["seconds"]["latency"]] or known
            costs = [settings[i][cost]["total"]["value"] for i in known]
            values = [settings[i]["accuracy"]["value"] for i in known]
            found[data][cost] = [known[k] for k in stats.pareto(costs, values)]
    return found


def scans(settings: Sequence[Plain]) -> list[str]:
    """How early expgsi stopped, and how often its clip changed the target."""
    told = []
    for setting in settings:
        if (scan := setting["scan"]) is not None:
            judged, hit, clipped = (100 * scan[key] for key in ("judged", "hit", "clipped"))
            told.append(
                f"{setting['data']}: {setting['label']} judged {judged:.0f} % of its candidates; {hit:.0f} % of "
                f"{scan['batches']} batches hit the envelope; the clip bound {clipped:.1f} % of the log-ratios."
            )
    return told


def notes(groups: Mapping[Setting, Sequence[Row]], superseded: int) -> list[str]:
    """What a reader must know before reading a number."""
    found = []
    rows = [row for group in groups.values() for row in group]
    failed = [row for row in rows if row["error"] is not None]
    if failed:
        kinds = ", ".join(sorted({row["error"]["type"] for row in failed}))
        found.append(
            f"{len(failed)} of {len(rows)} rows ended in an error ({kinds}). They count as wrong answers and are left "
            "out of every cost."
        )
    if superseded:
        found.append(f"{superseded} rows were superseded by a later row for the same problem, method, n and seed.")
    busy = sorted({(row["concurrency"], row["workers"]) for row in rows if not quiet(row)})
    if busy:
        loads = ", ".join(f"{c} in flight × {w} processes" for c, w in busy)
        found.append(f"Seconds of some rows were measured under load ({loads}): marked †, they are not latencies.")
    sizes = {setting: len({(row["problem_id"], row["seed"]) for row in group}) for setting, group in groups.items()}
    for data in dict.fromkeys(setting.data for setting in groups):
        here = {s: size for s, size in sizes.items() if s.data == data}
        short = [f"{s.method}, n = {s.n} ({size})" for s, size in here.items() if size < max(here.values())]
        if short:
            found.append(
                f"{data}: not every setting has all {max(here.values())} problems × seeds: {'; '.join(short)}. "
                "Accuracies are over what there is; differences are over common problems and seeds only."
            )
    if len(rows) and not any(len({row["seed"] for row in group}) > 1 for group in groups.values()):
        found.append("One seed: intervals are for other problems of this kind, not for other draws on these.")
    return found


def unknown(groups: Mapping[Setting, Sequence[Row]]) -> list[str]:
    """What to know of ungraded rows: how many, where, and how far they could move an accuracy."""
    found = []
    for setting, rows in groups.items():
        count = sum(not graded(row) for row in rows)
        name = f"{setting.data}: {setting.method}, n = {setting.n}"
        if count == len(rows):
            found.append(f"{name} is left out: none of its {count} rows is graded.")
        elif count:
            found.append(
                f"{name}: {count} of {len(rows)} rows are ungraded. They are in no accuracy and no comparison, which "
                f"they could move by {100 * count / len(rows):.2g} points; their costs count. The same `evals run` "
                "tries them again."
            )
    return found
