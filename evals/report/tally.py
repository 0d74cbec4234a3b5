"""What the rows of one setting (data, method, n, temperature) add up to: accuracy, acceptance, weights, costs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from evals.report import stats
from evals.rows import row as typed
from gsi_node.errors import ConfigError
from gsi_node.step.methods import METHODS
from gsi_node.types import Plain

Row = Mapping[str, Any] | typed.Row  # TEMPORARY: every reader of rows moves to attributes

ROLES = ("draft", "base", "reward")
_ORDER = {name: place for place, name in enumerate(METHODS)}


class Setting(NamedTuple):
    """What rows are pooled under; the rows of a setting differ in problem and seed."""

    data: str
    method: str
    n: int
    temperature: float

    @property
    def order(self) -> tuple[Any, ...]:
        """Methods in the order of METHODS, others after them."""
        return (self.data, _ORDER.get(self.method, len(_ORDER)), self.method, self.n, self.temperature)


def by_setting(rows: Iterable[Row]) -> tuple[dict[Setting, list[Row]], int]:
    """Rows by setting in a fixed order, and how many rows were superseded: of two rows with one key the last counts."""
    latest: dict[tuple[Any, ...], Row] = {}
    total = 0
    for row in rows:
        total += 1
        setting = Setting(row["data"], row["method"], row["n"], row["temperature"])
        latest[(setting, row["problem_id"], row["seed"])] = row
    groups: defaultdict[Setting, list[Row]] = defaultdict(list)
    for (setting, _, _), row in latest.items():
        groups[setting].append(row)
    return {setting: groups[setting] for setting in sorted(groups, key=lambda s: s.order)}, total - len(latest)


def graded(row: Row) -> bool:
    """Whether a row counts as right or wrong: an error is wrong, an ungraded row is neither."""
    return row["error"] is not None or row["correct"] is not None


def clustered(rows: Iterable[Row], value: Callable[[Row], float], count: Callable[[Row], float]) -> tuple[Any, Any]:
    """Sums of value and of count by problem, as two lists in one order."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        entry = sums[row["problem_id"]]
        entry[0] += value(row)
        entry[1] += count(row)
    return [entry[0] for entry in sums.values()], [entry[1] for entry in sums.values()]


def tally(setting: Setting, rows: Sequence[Row]) -> Plain:
    """Everything the report says of one setting, JSON-plain. A row with an error counts as a wrong answer, and only in
    the accuracy: what it cost says nothing about the method. An ungraded row counts in everything but the accuracy.
    Raises ConfigError where no row is graded."""
    whole = [row for row in rows if row["error"] is None]
    known = [row for row in rows if graded(row)]
    if not known:
        raise ConfigError(f"{setting.method}, n = {setting.n}: none of its {len(rows)} rows is graded")
    return {
        **setting._asdict(),
        "label": f"{setting.method}, n = {setting.n}",
        "rows": len(rows),
        "problems": len({row["problem_id"] for row in rows}),
        "seeds": sorted({row["seed"] for row in rows}),
        "errors": dict(Counter(row["error"]["type"] for row in rows if row["error"] is not None)),
        "accuracy": asdict(stats.proportion(*clustered(known, lambda row: row["correct"] is True, lambda row: 1))),
        "ungraded": len(rows) - len(known),
        "no_answer": sum(row["predicted"] is None for row in whole if graded(row)),
        "stop_reasons": dict(Counter(str(row["stop_reason"]) for row in whole)),
        "steps_per_row": _mean(whole, lambda row: len(decided(row))),
        "acceptance": acceptance(setting, whole),
        "weights": weights(whole),
        "scan": stopped_early(whole),
        "tokens": tokens(whole),
        "flops": flops(whole),
        "seconds": seconds(whole),
        "peak_memory_bytes": max((row["peak_memory_bytes"] or 0 for row in whole), default=0) or None,
    }


def decided(row: Row) -> list[Plain]:
    """The step records that the method decided, without those given with the problem."""
    return [step for step in row["steps"] or () if step.get("source") != "initial"]


def acceptance(setting: Setting, rows: Sequence[Row]) -> Plain | None:
    """Accepted steps over decided steps, clustered by problem; None where the method accepts whatever it chose."""
    rule = METHODS.get(setting.method)
    if rule is not None and rule.fallback is None:
        return None
    steps = {id(row): [step["accepted"] for step in decided(row) if step.get("accepted") is not None] for row in rows}
    if not any(steps.values()) or (rule is None and all(map(all, steps.values()))):
        return None
    counted = clustered(rows, lambda row: sum(steps[id(row)]), lambda row: len(steps[id(row)]))
    return asdict(stats.proportion(*counted))


def drafted(step: Plain) -> Plain:
    """The batch that was put to the test: after a fallback the refused draft, otherwise the step's own."""
    return step.get("rejected") or step


def weights(rows: Sequence[Row]) -> Plain:
    """Quantiles over the tested batches: ess / n (between 1/n and 1) and log w̄ in nats."""
    batches = [drafted(step) for row in rows for step in decided(row)]
    shares = [b["ess"] / b["n_candidates"] for b in batches if b.get("ess") is not None and b.get("n_candidates")]
    means = [b["log_mean_weight"] for b in batches if b.get("log_mean_weight") is not None]
    ratios = [b["log_ratio"] for b in batches if b.get("log_ratio") is not None]
    found = {"ess_share": shares, "log_mean_weight": means, "log_ratio": ratios}
    return {name: stats.quantiles(values) for name, values in found.items() if values}


def stopped_early(rows: Sequence[Row]) -> Plain | None:
    """Of a method that stops early (expgsi): shares of candidates judged, of batches hit, of judged ratios clipped."""
    batches = [batch for row in rows for step in decided(row) if (batch := drafted(step)).get("scan")]
    batches = [batch for batch in batches if batch.get("n_candidates")]
    if not batches:
        return None
    scans = [batch["scan"] for batch in batches]
    judged = sum(found["n_scored"] for found in scans)
    return {
        "judged": judged / sum(batch["n_candidates"] for batch in batches),
        "hit": sum(bool(found["hit"]) for found in scans) / len(scans),
        "clipped": sum(found["n_clipped"] for found in scans) / max(1, judged),
        "batches": len(scans),
    }


def tokens(rows: Sequence[Row]) -> Plain:
    """Mean tokens a row by role: generated, scored; and calls."""
    kinds = {"generated": "generated_tokens", "scored": "scored_tokens", "calls": "calls"}
    return {
        role: {kind: sum(_usage(row, role, key) for row in rows) / len(rows) for kind, key in kinds.items()}
        for role in ROLES
        if any(role in (row["usage"] or {}) for row in rows)
    }


def flops(rows: Sequence[Row]) -> Plain | None:
    """Mean forward FLOPs a row, with an interval, and by role; None where a row lacks a model's (size unknown)."""
    if not rows or any(not row["flops"] or row["usage"].keys() - row["flops"].keys() for row in rows):
        return None
    found = _mean(rows, lambda row: sum(row["flops"].values()))
    shares = {role: sum(row["flops"].get(role, 0.0) for row in rows) / len(rows) for role in ROLES}
    return {"total": found, **{role: value for role, value in shares.items() if value}}


def quiet(row: Row) -> bool:
    """Whether a row's seconds are a latency: one problem in flight, in one process."""
    return bool(row["concurrency"] == 1 and row["workers"] == 1)


def seconds(rows: Sequence[Row]) -> Plain | None:
    """Mean wall seconds a row; those of draft, base and reward; of the rest; and wall seconds a decided step.

    latency: whether they come from rows at concurrency 1 and one process; if there are such rows, only they are used.
    Models work at the same time (the base scores while the reward judges), so their seconds may add up to more than the
    wall's. rest: wall seconds in which no model worked; None where a row does not tell.
    """
    used = [row for row in rows if quiet(row)] or list(rows)
    if not used:
        return None
    parts = {role: sum(_usage(row, role, "seconds") for row in used) / len(used) for role in ROLES}
    total = _mean(used, lambda row: row["seconds"])
    steps = clustered(used, lambda row: row["seconds"], lambda row: len(decided(row)))
    return {
        "total": total,
        "quantiles": stats.quantiles([row["seconds"] for row in used]),
        "per_step": asdict(stats.mean(*steps)) if any(steps[1]) else None,
        **parts,
        "rest": _rest(used),
        "latency": quiet(used[0]),
        "concurrency": sorted({row["concurrency"] for row in used}),
        "workers": sorted({row["workers"] for row in used}),
    }


def _rest(rows: Sequence[Row]) -> float | None:
    if any(row.get("models_seconds") is None for row in rows):
        return None
    return sum(float(row["seconds"] - row["models_seconds"]) for row in rows) / len(rows)


def _mean(rows: Sequence[Row], value: Callable[[Row], float]) -> Plain:
    return asdict(stats.mean(*clustered(rows, value, lambda row: 1))) if rows else {}


def _usage(row: Row, role: str, key: str) -> float:
    return float((row["usage"] or {}).get(role, {}).get(key, 0) or 0)
