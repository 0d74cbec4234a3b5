"""The threshold with a wanted fallback share, from the batches that a calibration run put to the test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evals.report.arms import decided, drafted
from evals.rows.row import Row, StepRecord
from gsi_node.core.accept import calibrate_log_ratio_clip
from gsi_node.errors import ConfigError
from gsi_node.step.methods import METHODS
from gsi_node.step.rules import Knob


def knobs() -> dict[str, Knob]:
    """By method, the field of GSIConfig that decides how often it falls back; those without one cannot be tuned."""
    rules = {name: method.accept for name, method in METHODS.items()}
    return {name: rule.knob for name, rule in rules.items() if rule is not None and rule.knob is not None}


def measuring(method: str) -> str | None:
    """The method whose runs give the clip of one that clips: it asks the same, and judges every candidate."""
    own = METHODS[method]
    if own.weigh is None or not own.weigh.clips:
        return None
    whole = (name for name, other in METHODS.items() if other.models == own.models and other.needs == own.needs)
    return next(name for name in whole if not METHODS[name].scans)


def batches(rows: Iterable[Row]) -> list[StepRecord]:
    """The drafts' batches of all rows that succeeded, one a decided step."""
    return [drafted(step) for row in rows if row.error is None for step in decided(row)]


def threshold(method: str, tested: Sequence[StepRecord], share: float) -> float:
    """The value of the method's knob (u, δ or log c) at which `share` of the tested batches would have been refused.

    A batch without a possible candidate is refused at any. Raises ConfigError where there is no batch, or too many are
    refused at any.
    """
    if not tested:
        raise ConfigError("the calibration run decided no step: give it more problems (--limit)")
    knob = knobs()[method]
    return knob.calibrate([_number(getattr(batch, knob.tested)) for batch in tested], share)


def clip(tested: Sequence[StepRecord]) -> float:
    """log_ratio_clip of a method that clips: the 95 % quantile of ℓ over all candidates of a gsi run, in nats."""
    ratios = [_number(one.log_ratio) for batch in tested for one in batch.candidates or ()]
    if not ratios:
        raise ConfigError("the calibration run kept no candidates, whose log-ratios the clip needs")
    return calibrate_log_ratio_clip(ratios)


def _number(value: float | None) -> float:
    """A row has null where the number is −inf."""
    return -math.inf if value is None else float(value)
