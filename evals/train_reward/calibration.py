"""Which u, δ and log c refuse which share of a draft's steps, told beforehand from responses that it wrote.

The rules of the methods judge batches of the draft's steps as in a run (gsi_node/step). n = 1: each step of each
response is a batch. n > 1: candidates share a prefix, and all that a problem's samples share is the problem, so batches
are first steps, each n neighbours of the circle of a problem's samples. A run commits other steps than these; `evals
tune` measures its share.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evals.report import stats
from evals.report.cells import estimate
from evals.report.stats import Estimate
from evals.report.text_table import TextTable
from evals.train_reward.judged import Judged
from gsi_node.core.choose import KeyedChooser
from gsi_node.rewards.wrappers.calibration import Calibration, logit, sigmoid
from gsi_node.step.config import DEFAULT
from gsi_node.step.judging import select, tilt
from gsi_node.step.methods import METHODS, Method
from gsi_node.step.rules import CandidateBatch
from gsi_node.types import Key, Score, Step

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
SHOWN = ("gsi", "rsd-n", "gsi-ic")
"""Methods with a threshold of their own: u, δ, log c."""


@dataclass(frozen=True, slots=True)
class FallbackPoint:
    """The value of a method's threshold that refuses about `wanted` of the batches. share: how many it does refuse,
    clustered by problem."""

    method: str
    field: str
    n: int
    wanted: float
    value: float
    share: Estimate


@dataclass(frozen=True, slots=True)
class _Tested:
    """A batch with the candidate that a method chose of it, None where all weights are zero."""

    problem_id: str
    batch: CandidateBatch
    chosen: int | None

    def value(self, name: str) -> float:
        """What the method's threshold is held against."""
        if self.chosen is None:
            return -math.inf
        if name == "log_mean_weight":
            assert self.batch.log_mean_weight is not None
            return self.batch.log_mean_weight
        values = self.batch.rewards if name == "reward" else self.batch.tilted_rewards
        assert values is not None
        return float(values[self.chosen])


def points(judged: Sequence[Judged], n: int) -> list[FallbackPoint]:
    """By method and wanted share, under the default settings (β = 20), from the draft's responses.

    Left out are methods that need ℓ where a response has none, and shares out of reach: where the base can make no
    candidate of a batch, it is refused at any threshold. Nothing where no problem has n responses.
    """
    told, batches = all(one.log_ratios is not None for one in judged), list(_batches(judged, n))
    methods = [METHODS[name] for name in SHOWN if told or not METHODS[name].uses_ratio]
    return [
        point
        for method in (methods if batches else ())
        for point in _points(method, [_tested(method, batch, k) for k, batch in enumerate(batches)], n)
    ]


def _batches(judged: Sequence[Judged], n: int) -> Iterator[list[tuple[str, float, float]]]:
    """(problem, reward, ℓ) of each candidate; ℓ 0 where it is not known."""
    steps: defaultdict[str, list[list[tuple[str, float, float]]]] = defaultdict(list)
    for one in judged:
        ratios = one.log_ratios or (0.0,) * len(one.scores)
        if one.scores:
            steps[one.problem_id].append(
                [(one.problem_id, score, ratio) for score, ratio in zip(one.scores, ratios, strict=True)]
            )
    for samples in steps.values():
        if n == 1:
            yield from ([step] for sample in samples for step in sample)
        elif len(samples) >= n:
            firsts = [sample[0] for sample in samples]
            yield from ((firsts + firsts)[k : k + n] for k in range(len(firsts)))


def _tested(method: Method, batch: Sequence[tuple[str, float, float]], number: int) -> _Tested:
    problem = batch[0][0]
    steps = [Step("", (), 0.0, False)] * len(batch)  # draft and base are told apart by ℓ alone
    rewards, scores = [reward for _, reward, _ in batch], [Score(ratio) for _, _, ratio in batch]
    weighed = tilt(method, steps, rewards, scores if method.uses_score else None, DEFAULT)
    return _Tested(problem, weighed, select(method, weighed, KeyedChooser(Key(0, problem, number, "select"))))


def _points(method: Method, tested: Sequence[_Tested], n: int) -> Iterator[FallbackPoint]:
    rule = method.accept
    assert rule is not None and rule.knob is not None
    values = [one.value(rule.knob.tested) for one in tested]
    impossible = values.count(-math.inf)
    for wanted in SHARES:
        if impossible and wanted * len(values) <= impossible:
            continue  # more are refused at any threshold
        value = rule.knob.calibrate(values, wanted)
        settings = DEFAULT.model_copy(update={rule.knob.field: value})
        refused: defaultdict[str, list[float]] = defaultdict(list)
        for one in tested:
            kept = 0.0 if one.chosen is None else math.exp(rule.compute(one.batch, one.chosen, settings))
            refused[one.problem_id].append(1.0 - kept)
        share = stats.proportion([sum(some) for some in refused.values()], [len(some) for some in refused.values()])
        yield FallbackPoint(method.name, rule.knob.field, n, wanted, value, share)


def prior_shift(judged: Sequence[Judged], fingerprint: str) -> Calibration:
    """logit P' = logit P − logit(share of good steps): P' = ½ where a step is as good as the average one.

    fingerprint: of the reward. What `calibrated:SPEC?file=FILE` reads; before, after: nats a label of the same steps.
    """
    steps = [(score, one.correct) for one in judged for score in one.scores]
    good = sum(correct for _, correct in steps) / len(steps)
    offset = -float(logit([good])[0])
    shift = Calibration("platt", fingerprint, len(steps), 0.0, 0.0, 1.0, offset)
    before = [_loss(score, correct) for score, correct in steps]
    after = [_loss(p, correct) for p, (_, correct) in zip(shift([s for s, _ in steps]), steps, strict=True)]
    return replace(shift, before=math.fsum(before) / len(steps), after=math.fsum(after) / len(steps))


def _loss(p: float, good: bool) -> float:
    odds = logit([p if good else 1.0 - p])
    return -math.log(float(sigmoid(odds)[0]))


def shifted(judged: Sequence[Judged], shift: Calibration) -> list[Judged]:
    """The same responses as the shifted reward judges them."""
    return [replace(one, scores=tuple(shift(one.scores))) for one in judged]


def table(title: str, found: Sequence[FallbackPoint]) -> TextTable:
    """A line a method, n and share."""
    lines = [
        [one.method, str(one.n), f"{one.wanted:g}", f"{one.field} = {one.value:.4f}", estimate(one.share)]
        for one in found
    ]
    return TextTable(title, ["method", "n", "wanted", "threshold", "refused"], lines)
