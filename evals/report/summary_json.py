"""summary.json: a summary as JSON has held it since schema 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from evals.report import stats
from evals.report.pairs import Comparison
from evals.report.summary import COSTS, DataSummary, Summary
from evals.report.tally import Tally

SCHEMA = 1


def plain(summary: Summary) -> dict[str, object]:
    """All of it, by plain names; of a data set's numbers each list holds the next data set's behind them."""
    return {
        "schema": SCHEMA,
        "level": stats.LEVEL,
        "rows": summary.rows,
        "errors": summary.errors,
        "ungraded": summary.ungraded,
        "settings": [_tally(one) for found in summary.sets for one in found.tallies],
        "primary": [_comparison(one) for found in summary.sets for one in found.primary],
        "pairs": [_comparison(one) for found in summary.sets for one in found.comparisons],
        "calibration": [asdict(one) for found in summary.sets for one in found.curves],
        "pareto": _fronts(summary.sets),
        "notes": summary.notes,
    }


def _tally(tally: Tally) -> dict[str, object]:
    told = asdict(tally)
    flops, seconds = (_flat(told[cost]) for cost in COSTS)
    about = {**told.pop("arm"), "label": tally.arm.label}
    return {**about, **told, "steps_per_row": told["steps_per_row"] or {}, "flops": flops, "seconds": seconds}


def _flat(spent: dict[str, object] | None) -> dict[str, object] | None:
    """A cost with its parts beside the total."""
    flat: dict[str, object] = {}
    for name, value in (spent or {}).items():
        flat |= value if isinstance(value, dict) and name == "parts" else {name: value}
    return flat or None


def _comparison(one: Comparison) -> dict[str, object]:
    about = {"data": one.first.data, "first": one.first.label, "second": one.second.label}
    return {**about, **asdict(one.difference), "p_holm": one.p_holm}


def _fronts(sets: Sequence[DataSummary]) -> dict[str, dict[str, list[int]]]:
    """By data set and cost: places in the list of all settings."""
    told, before = {}, 0
    for found in sets:
        told[found.data] = {cost: [before + place for place in found.fronts[cost]] for cost in COSTS}
        before += len(found.tallies)
    return told
