"""The threshold with a wanted fallback share, from the batches that a calibration run put to the test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evals.report.arms import decided, drafted
from evals.rows.row import Row, StepRecord
from gsi_node.core.accept import calibrate_log_c, calibrate_log_ratio_clip
from gsi_node.errors import ConfigError

FIELDS = {"gsi": "threshold", "expgsi": "threshold", "gsi-ic": "log_c", "rsd-n": "delta", "rsd": "delta"}
"""The field of GSIConfig that decides how often a method falls back."""
TESTED = {"threshold": "tilted_reward", "delta": "reward"}


def batches(rows: Iterable[Row]) -> list[StepRecord]:
    """The drafts' batches of all rows that succeeded, one a decided step."""
    return [drafted(step) for row in rows if row.error is None for step in decided(row)]


def threshold(method: str, tested: Sequence[StepRecord], share: float) -> float:
    """u, δ or log c (nats) at which `share` of the tested batches would have been refused.

    gsi, expgsi: the quantile of r̃ of the chosen candidates; rsd, rsd-n: of r; in the middle of the gap it falls into. A
    batch without a possible candidate is refused at any threshold. gsi-ic: core/accept.calibrate_log_c on log w̄.
    Raises ConfigError where there is no batch, or too many are refused at any threshold.
    """
    if not tested:
        raise ConfigError("the calibration run decided no step: give it more problems (--limit)")
    if FIELDS[method] == "log_c":
        logs = [_number(batch.log_mean_weight) for batch in tested]
        return calibrate_log_c(logs, share)
    values = sorted(_number(getattr(batch, TESTED[FIELDS[method]])) for batch in tested)
    return quantile(values, share)


def quantile(values: Sequence[float], share: float) -> float:
    """A number below which `share` of the sorted values lie, as nearly as they allow; ties go to the smaller share."""
    if not 0.0 <= share < 1.0:
        raise ConfigError(f"--target-fallback: want a share in [0, 1), got {share:g}")
    place = round(share * len(values))
    above = values[min(place, len(values) - 1)]
    if above == -math.inf:
        impossible = sum(value == -math.inf for value in values) / len(values)
        raise ConfigError(f"fallback {share:g} is out of reach: {impossible:.3f} of the batches are always refused")
    below = values[place - 1] if place else above - 2e-3
    return above if below in (above, -math.inf) else (below + above) / 2


def clip(tested: Sequence[StepRecord]) -> float:
    """expgsi's log_ratio_clip: the 95 % quantile of ℓ over all candidates of a gsi run, in nats."""
    ratios = [_number(one.log_ratio) for batch in tested for one in batch.candidates or ()]
    if not ratios:
        raise ConfigError("the calibration run kept no candidates, whose log-ratios the clip needs")
    return calibrate_log_ratio_clip(ratios)


def _number(value: float | None) -> float:
    """A row has null where the number is −inf."""
    return -math.inf if value is None else float(value)
