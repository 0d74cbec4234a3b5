"""What the decided steps of an arm are like: how long, how far apart draft and base are, and how responses ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from evals.report.arms import decided, drafted
from evals.rows.row import Row


@dataclass(frozen=True, slots=True)
class StepFigures:
    """decided: their number. tokens: of a committed one, mean. log_ratio, greatest_log_ratio: mean and greatest |ℓ| of
    the chosen drafts, refused ones too, in nats. None where no step's record has the number."""

    decided: int
    tokens: float | None
    log_ratio: float | None
    greatest_log_ratio: float | None


def step_figures(rows: Sequence[Row]) -> StepFigures:
    """Over all decided steps of the rows."""
    steps = [step for row in rows for step in decided(row)]
    tokens = [step.n_tokens for step in steps if step.n_tokens is not None]
    apart = [abs(one.log_ratio) for one in map(drafted, steps) if one.log_ratio is not None]
    return StepFigures(
        decided=len(steps),
        tokens=fmean(tokens) if tokens else None,
        log_ratio=fmean(apart) if apart else None,
        greatest_log_ratio=max(apart, default=None),
    )
