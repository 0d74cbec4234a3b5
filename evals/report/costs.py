"""What a row of an arm costs on average: tokens, forward FLOPs, seconds, each by role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from evals.report import stats
from evals.report.arms import clustered, decided, forward_flops, quiet
from evals.report.stats import Estimate, Quantiles
from evals.rows.row import RoleBill, Row

Part = TypeVar("Part")
ROLES = ("draft", "base", "reward")


@dataclass(frozen=True, slots=True)
class MeanTokens:
    """Means a row, of one role."""

    generated: float
    scored: float
    calls: float


@dataclass(frozen=True, slots=True)
class MeanFlops:
    """Means a row. parts: by role, without those that are 0."""

    total: Estimate
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MeanSeconds:
    """Means a row, and wall seconds a decided step.

    parts: of draft, base, reward and the rest, in which no model worked (None where a row does not tell). Models work
    at the same time (the base scores while the reward judges), so they may add up to more than the total. latency:
    whether the rows are those at concurrency 1 and one process; if there are such rows, only they are used.
    """

    total: Estimate
    quantiles: Quantiles | None
    per_step: Estimate | None
    parts: Mapping[str, float | None]
    latency: bool
    concurrency: Sequence[int]
    workers: Sequence[int]


def tokens(rows: Sequence[Row]) -> dict[str, MeanTokens]:
    """By role, of those that were asked."""
    return {
        role: MeanTokens(
            generated=_billed(rows, role, lambda bill: bill.generated_tokens),
            scored=_billed(rows, role, lambda bill: bill.scored_tokens),
            calls=_billed(rows, role, lambda bill: bill.calls),
        )
        for role in ROLES
        if any(named(row.usage, role) for row in rows)
    }


def flops(rows: Sequence[Row]) -> MeanFlops | None:
    """None where a row lacks a model's (size unknown)."""
    known = {id(row): spent for row in rows if (spent := forward_flops(row)) is not None}
    if not rows or len(known) < len(rows):
        return None
    total = stats.mean(*clustered(rows, lambda row: known[id(row)]))
    shares = {role: sum(sum(named(row.flops, role)) for row in rows) / len(rows) for role in ROLES}
    return MeanFlops(total, {role: share for role, share in shares.items() if share})


def seconds(rows: Sequence[Row]) -> MeanSeconds | None:
    """None where there is no row whose seconds are its own."""
    used = [row for row in rows if quiet(row)] or [row for row in rows if not row.shared]
    if not used:
        return None
    parts = {role: _billed(used, role, lambda bill: bill.seconds) for role in ROLES}
    steps = clustered(used, lambda row: row.seconds, lambda row: len(decided(row)))
    idle = [row.seconds - row.models_seconds for row in used if row.models_seconds is not None]
    return MeanSeconds(
        total=stats.mean(*clustered(used, lambda row: row.seconds)),
        quantiles=stats.quantiles([row.seconds for row in used]),
        per_step=stats.mean(*steps) if any(steps[1]) else None,
        parts={**parts, "rest": sum(idle) / len(used) if len(idle) == len(used) else None},
        latency=quiet(used[0]),
        concurrency=sorted({row.concurrency for row in used}),
        workers=sorted({row.workers for row in used}),
    )


def _billed(rows: Sequence[Row], role: str, amount: Callable[[RoleBill], float]) -> float:
    """The mean over rows; those whose bill lacks the role count as 0."""
    return float(sum(float(amount(bill)) for row in rows for bill in named(row.usage, role))) / len(rows)


def named(parts: Mapping[str, Part], role: str) -> list[Part]:
    """What belongs to a role: of several drafts "draft/0", "draft/1" …"""
    return [part for name, part in parts.items() if name.partition("/")[0] == role]
