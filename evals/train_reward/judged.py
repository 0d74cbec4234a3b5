"""What the gate, the calibration and the card read: responses as the new reward judged them, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

SplitName = Literal["fit", "calibrate", "gate"]
SPLIT_NAMES: tuple[SplitName, ...] = ("fit", "calibrate", "gate")
"""The head is fitted on the first, its logit mapped to a probability on the second, and measured on the third."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A response to a problem, graded, and what the reward says of its steps.

    template: what the split goes by; no template is in two splits. solver: the name of the model that wrote it.
    sample: its number among those of one problem and solver, from 0. finished: whether it ended by itself, and was not
    cut. answer: what was read in it, None for nothing. scores: P(good) of each step with something in it, in their
    order; none for a response without any. log_ratios: log π_base − log π_draft of the same steps, in nats; None where
    they were not asked for.
    """

    problem: str
    template: str
    problem_id: str
    solver: str
    sample: int
    correct: bool
    finished: bool
    answer: str | None
    scores: tuple[float, ...]
    log_ratios: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class TriedHead:
    """One setting that cross-validation tried, over the responses of the fit split.

    layers: how many of the model's are kept. strength: C of ½·|v|² + C·Σ loss. log_loss: held-out mean negative
    log-likelihood of a step's label, in nats, each response weighing the same. auroc: held-out, over steps, the mean of
    the folds.
    """

    layers: int
    strength: float
    log_loss: float
    auroc: float


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """How a reward was made: all that its card says beside what was measured.

    command: as typed. model: the spec whose first `layers` of `of_layers` are kept, read in `dtype`. solvers: specs by
    name, the draft first, the base last. data: specs of the problems. checksums: of the model and the solvers by name,
    of "problems" (all that decides how they are solved and graded) and of the "head". templates, problems, responses:
    how many, by split. left_out: responses by why they were. tried: what cross-validation tried. slope, offset: of the
    logistic map, fitted on the calibrate split, that the head holds already. rollouts: from each step, 0 for none.
    pairs: whether it was fitted to pairs of steps.
    """

    _: KW_ONLY
    command: str
    model: str
    dtype: str
    layers: int
    of_layers: int
    separator: str
    solvers: Mapping[str, str]
    samples: int
    data: tuple[str, ...]
    checksums: Mapping[str, str]
    templates: Mapping[SplitName, int]
    problems: Mapping[SplitName, int]
    responses: Mapping[SplitName, int]
    left_out: Mapping[str, int]
    strength: float
    tried: tuple[TriedHead, ...]
    slope: float
    offset: float
    rollouts: int
    pairs: bool
    version: str
    commit: str | None
    machine: str
    date: str
