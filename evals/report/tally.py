"""What the rows of one arm add up to: accuracy, acceptance, weights; costs.py has the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.report import costs, stats, two_phase
from evals.report.arms import Arm, clustered, decided, drafted, graded
from evals.report.stats import Estimate, Quantiles
from evals.report.steps import StepFigures, step_figures
from evals.rows.row import Row
from evals.run.design import Design
from gsi_node.errors import ConfigError
from gsi_node.step.methods import METHODS


@dataclass(frozen=True, slots=True)
class EarlyStops:
    """Of a method that stops early (expgsi): shares of candidates judged, of batches hit, of judged ratios clipped."""

    judged: float
    hit: float
    clipped: float
    batches: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything the report says of one arm. A row with an error counts as a wrong answer, and only in the accuracy:
    what it cost says nothing about the method. An ungraded row counts in everything but the accuracy.

    weights: over the tested batches, quantiles of "ess_share" (ess / n, between 1/n and 1), "log_mean_weight" and
    "log_ratio" (nats), where they are known. tokens: by role.
    """

    arm: Arm
    rows: int
    problems: int
    seeds: Sequence[int]
    errors: Mapping[str, int]
    accuracy: Estimate
    ungraded: int
    no_answer: int
    stop_reasons: Mapping[str, int]
    steps_per_row: Estimate | None
    steps: StepFigures
    acceptance: Estimate | None
    weights: Mapping[str, Quantiles]
    scan: EarlyStops | None
    tokens: Mapping[str, costs.MeanTokens]
    flops: costs.MeanFlops | None
    seconds: costs.MeanSeconds | None
    peak_memory_bytes: int | None

    def cost(self, name: str) -> float | None:
        """Its mean "flops" or "seconds" a row, where they are known."""
        spent = self.flops if name == "flops" else self.seconds
        return None if spent is None else spent.total.value

    @property
    def mark(self) -> str:
        """What stands behind seconds that were measured under load, and are no latency."""
        return "" if self.seconds is None or self.seconds.latency else " †"


def tally(arm: Arm, rows: Sequence[Row], design: Design | None = None) -> Tally:
    """The tally of an arm's rows; its accuracy is that of the set they were drawn of, where a design drew them. Raises
    ConfigError where none is graded, or none of a stratum."""
    whole = [row for row in rows if row.error is None]
    known = [row for row in rows if graded(row)]
    if not known:
        raise ConfigError(f"{arm.label}: none of its {len(rows)} rows is graded")
    return Tally(
        arm=arm,
        rows=len(rows),
        problems=len({row.problem_id for row in rows}),
        seeds=sorted({row.seed for row in rows}),
        errors=dict(Counter(row.error.type for row in rows if row.error is not None)),
        accuracy=accuracy(known, design),
        ungraded=len(rows) - len(known),
        no_answer=sum(row.predicted is None for row in whole if graded(row)),
        stop_reasons=dict(Counter(str(row.stop_reason) for row in whole)),
        steps_per_row=stats.mean(*clustered(whole, lambda row: len(decided(row)))) if whole else None,
        steps=step_figures(whole),
        acceptance=acceptance(arm, whole),
        weights=weights(whole),
        scan=stopped_early(whole),
        tokens=costs.tokens(whole),
        flops=costs.flops(whole),
        seconds=costs.seconds(whole),
        peak_memory_bytes=max((row.peak_memory_bytes or 0 for row in whole), default=0) or None,
    )


def accuracy(rows: Sequence[Row], design: Design | None = None) -> Estimate:
    """Of graded rows."""
    right: dict[str, list[bool]] = {}
    for row in rows:
        right.setdefault(row.problem_id, []).append(row.correct is True)
    sums, counts = [sum(found) for found in right.values()], [len(found) for found in right.values()]
    if design is None:
        return stats.proportion(sums, counts)
    return two_phase.share(design, dict(zip(right, zip(sums, counts, strict=True), strict=True)))


def acceptance(arm: Arm, rows: Sequence[Row]) -> Estimate | None:
    """Accepted steps over those with a verdict, clustered by problem; None where the method accepts all it chose."""
    method = METHODS.get(arm.method)
    if method is not None and method.accept is None:
        return None
    verdicts = {id(row): [step.accepted for step in row.steps if step.accepted is not None] for row in rows}
    if not any(verdicts.values()) or (method is None and all(map(all, verdicts.values()))):
        return None
    return stats.proportion(*clustered(rows, lambda row: sum(verdicts[id(row)]), lambda row: len(verdicts[id(row)])))


def weights(rows: Sequence[Row]) -> dict[str, Quantiles]:
    """Quantiles over the tested batches, as Tally says."""
    batches = [drafted(step) for row in rows for step in decided(row)]
    values = {
        "ess_share": [b.ess / b.n_candidates for b in batches if b.ess is not None and b.n_candidates],
        "log_mean_weight": [b.log_mean_weight for b in batches if b.log_mean_weight is not None],
        "log_ratio": [b.log_ratio for b in batches if b.log_ratio is not None],
    }
    spread = {name: stats.quantiles(known) for name, known in values.items()}
    return {name: one for name, one in spread.items() if one is not None}


def stopped_early(rows: Sequence[Row]) -> EarlyStops | None:
    """Over the tested batches whose record says how far they were judged."""
    batches = [drafted(step) for row in rows for step in decided(row)]
    scans = [(batch.scan, batch.n_candidates) for batch in batches if batch.scan is not None and batch.n_candidates]
    if not scans:
        return None
    judged = sum(scan.n_scored for scan, _ in scans)
    return EarlyStops(
        judged=judged / sum(n for _, n in scans),
        hit=sum(scan.hit for scan, _ in scans) / len(scans),
        clipped=sum(scan.n_clipped for scan, _ in scans) / max(1, judged),
        batches=len(scans),
    )
