"""How far a reward is a probability: rewards against exact labels of steps, or against the grade of the answer."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.report import stats
from evals.report.arms import decided
from evals.report.stats import Estimate
from evals.rows.row import Row
from gsi_node.pocket.world.check import normal
from gsi_node.pocket.world.problems import problems
from gsi_node.types import Array

BINS = 10


class LabelledReward(NamedTuple):
    """One reward and what is known to be true. problem: the cluster."""

    problem: str
    source: str
    reward: float
    good: bool


@dataclass(frozen=True, slots=True)
class RewardBin:
    """Rewards in [low, high), the last bin's high included. good: the share of good ones, clustered by problem."""

    low: float
    high: float
    mean_reward: float
    count: int
    good: Estimate


@dataclass(frozen=True, slots=True)
class Curve:
    """How far one source's rewards are probabilities. kind: "steps", whose labels are exact, or "answers", where the
    last step's reward is held against the answer. good: the share of good ones. auroc: None without good and bad ones.
    brier: mean (r − y)². ece: Σ_b (count_b / count) |mean reward − share good|.
    """

    data: str
    kind: str
    source: str
    count: int
    good: float
    auroc: float | None
    brier: float
    ece: float
    bins: Sequence[RewardBin]


def paths(rows: Iterable[Row], seed: int = 0) -> dict[str, list[frozenset[str]]]:
    """The acceptable texts at each position of pocket's problems, by problem text, from the seeded generator."""
    size = 1 + max((row.index for row in rows if row.data == "pocket"), default=-1)
    return {
        item.problem: [frozenset(map(normal, place)) for place in item.alternatives]
        for split in ("test", "validation")
        for item in problems(split, seed, size)
    }


def judged_steps(row: Row, path: Sequence[frozenset[str]]) -> Iterator[LabelledReward]:
    """Every step whose reward was recorded, labelled by pocket's exact check: right, after right steps only.

    Candidates where the row keeps them, otherwise the committed step and the refused one.
    """
    right = True
    for place, step in enumerate(decided(row)):
        allowed = path[place] if right and place < len(path) else frozenset()
        for batch in (step, *([step.rejected] if step.rejected else [])):
            for one in batch.candidates or [batch]:
                if one.reward is not None and one.text is not None:
                    yield LabelledReward(row.problem_id, batch.source, one.reward, normal(one.text) in allowed)
        right = step.text is not None and normal(step.text) in allowed


def judged_answer(row: Row) -> Iterator[LabelledReward]:
    """The reward of a response's last step against the correctness of its answer."""
    steps = decided(row)
    if steps and steps[-1].reward is not None and row.correct is not None:
        yield LabelledReward(row.problem_id, steps[-1].source, steps[-1].reward, row.correct)


def reliability(rows: Sequence[Row], data_seed: int = 0) -> list[Curve]:
    """One curve a data set, kind of label and source (draft, base), in that order.

    Problems of pocket have exact step labels; elsewhere the last step's reward is held against the answer. Bins are of
    equal width over [0, 1], or over the rewards' range where they leave it.
    """
    whole = [row for row in rows if row.error is None]
    known = paths(whole, data_seed)
    found: defaultdict[tuple[str, str, str], list[LabelledReward]] = defaultdict(list)
    for row in whole:
        path = known.get(row.problem) if row.data == "pocket" else None
        kind = "answers" if path is None else "steps"
        for one in judged_answer(row) if path is None else judged_steps(row, path):
            found[row.data, kind, one.source].append(one)
    return [curve(*about, judged) for about, judged in sorted(found.items())]


def curve(data: str, kind: str, source: str, judged: Sequence[LabelledReward]) -> Curve:
    """That of one source's rewards; there must be some."""
    rewards, good = _arrays(judged)
    edges, places = _binned(rewards)
    bins = []
    for b in np.unique(places):
        inside = np.flatnonzero(places == b)
        share = stats.proportion(*_by_problem([judged[i] for i in inside.tolist()]))
        mean = float(rewards[inside].mean())
        bins.append(RewardBin(float(edges[b]), float(edges[b + 1]), mean, len(inside), share))
    return Curve(
        data=data,
        kind=kind,
        source=source,
        count=len(judged),
        good=float(good.mean()),
        auroc=stats.auroc(rewards, good),
        brier=float(np.square(rewards - good).mean()),
        ece=sum(one.count * abs(one.mean_reward - one.good.value) for one in bins) / len(judged),
        bins=bins,
    )


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """ece: Σ_b (n_b/N) |mean r − share good| with its interval. chance: what a calibrated reward would show on as many
    problems, since an absolute value is never below 0: the interval holds the true ECE only where it is well above."""

    ece: Estimate
    chance: float


def calibration_error(judged: Sequence[LabelledReward]) -> CalibrationError:
    """ECE as the mean of s_b (r − y), s_b the sign of the gap of the step's bin, so that its interval is that of a mean
    over problems; chance: √(2/π) Σ_b (n_b/N) se_b, se_b the standard error of the bin's gap, as of normal gaps."""
    rewards, good = _arrays(judged)
    _, places = _binned(rewards)
    gaps, chance = rewards - good, 0.0
    _, problems = np.unique([one.problem for one in judged], return_inverse=True)
    counts = np.bincount(problems)
    for b in np.unique(places):
        inside = places == b
        sums, here = (np.bincount(problems[inside], some, len(counts)) for some in (gaps[inside], None))
        mean = stats.mean(sums, here)
        chance += math.sqrt(2 / math.pi) * mean.se * mean.rows / len(judged)
        gaps[inside] *= math.copysign(1.0, mean.value)
    found = stats.mean(np.bincount(problems, gaps), counts)
    return CalibrationError(replace(found, low=max(0.0, found.low)), chance)


def _arrays(judged: Sequence[LabelledReward]) -> tuple[Array, Array]:
    """Rewards, and 1 for each good one."""
    return np.asarray([one.reward for one in judged]), np.asarray([one.good for one in judged], dtype=np.float64)


def _binned(rewards: Array) -> tuple[Array, NDArray[np.intp]]:
    """The edges of the bins, and the place of each reward among them."""
    edges = np.linspace(min(0.0, float(rewards.min())), max(1.0, float(rewards.max())), BINS + 1)
    return edges, np.clip(np.searchsorted(edges, rewards, side="right") - 1, 0, BINS - 1)


def _by_problem(judged: Iterable[LabelledReward]) -> tuple[list[int], list[int]]:
    """How many are good, and how many there are, in each problem."""
    good, count = Counter[str](), Counter[str]()
    for one in judged:
        good[one.problem] += one.good
        count[one.problem] += 1
    return list(good.values()), list(count.values())
