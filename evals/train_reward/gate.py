"""Whether a reward is worth using: how it tells steps apart, and what choosing by it gains, by who wrote the samples.

A step's label is whether its response's answer is right. The unit is the problem: intervals are those of
evals/report/stats.py over problems. Choosing one of n is averaged over all subsets of a problem's samples
(subsets.py), for n = 1, 2, 4 … up to how many there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from evals.report import stats
from evals.report.cells import UNKNOWN, estimate
from evals.report.stats import Estimate
from evals.report.text_table import TextTable
from evals.train_reward import subsets
from evals.train_reward.judged import Judged
from gsi_node.core.choose import vote

SameAnswer = Callable[[Judged, str, str], bool]
"""Whether two answers to the problem of a response are equal."""
RESPONSE_SCORES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "last": lambda scores: scores[-1],
    "product": math.prod,
}
"""A response's score from those of its steps."""
RANDOM, MAJORITY, ORACLE = "a random finished sample", "majority", "oracle"
StepView = Callable[[Judged], Sequence[float]]
EARLY = "first half of each response"
VIEWS: Mapping[str, StepView] = {
    "every step": lambda one: one.scores,
    EARLY: lambda one: one.scores[: len(one.scores) // 2],
}


@dataclass(frozen=True, slots=True)
class Separation:
    """AUROC of steps. overall: over all pairs of a good and a bad one; within: over pairs of one problem, all pairs
    alike. None where there is no such pair."""

    overall: Estimate | None
    within: Estimate | None


@dataclass(frozen=True, slots=True)
class Gain:
    """Accuracy of choosing by the reward less that of another chooser, on the same problems, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, slots=True)
class Gate:
    """What the samples of one solver say. separations: by view, then by reward. accuracies: by chooser, then by n.
    gains: of each way to choose by the first reward over each other chooser, at the greatest n."""

    solver: str
    problems: int
    responses: int
    finished: int
    right: Estimate
    separations: Mapping[str, Mapping[str, Separation]]
    accuracies: Mapping[str, Mapping[int, Estimate]]
    gains: Mapping[str, Mapping[str, Gain]]

    @property
    def verdict(self) -> str:
        """What the intervals say, in a line."""
        name, within = next((name, one.within) for name, one in self.separations[EARLY].items())
        apart = within is not None and within.low > 0.5
        ways = [way for way, over in self.gains.items() if over[RANDOM].low > 0]
        told = "tells" if apart else "is not seen to tell"
        gain = f"gains by {' and '.join(ways)}" if ways else "is not seen to gain"
        return f"{self.solver}: {name} {told} early steps of one problem apart, and {gain} over {RANDOM}."


@dataclass(frozen=True, slots=True)
class _Bank:
    """The samples of a problem. scores: by reward, those of each sample's steps."""

    samples: Sequence[Judged]
    scores: Mapping[str, Sequence[Sequence[float]]]

    def taken(self, one: Judged) -> bool:
        """Whether a sample can be chosen: it ended, and has a step to judge."""
        return one.finished and bool(one.scores)

    @property
    def able(self) -> list[bool]:
        return [self.taken(one) for one in self.samples]

    @property
    def right(self) -> list[bool]:
        return [one.correct for one in self.samples]


SampleChooser = Callable[[_Bank, int], float]


def gates(rewards: Mapping[str, Sequence[Judged]], same: SameAnswer) -> list[Gate]:
    """One gate a solver, in the order of their first responses.

    rewards: by name, the reward in question first, the same responses in the same order with the scores of each.
    """
    first = next(iter(rewards.values()))
    return [_gate(solver, rewards, same) for solver in dict.fromkeys(one.solver for one in first)]


def _gate(solver: str, rewards: Mapping[str, Sequence[Judged]], same: SameAnswer) -> Gate:
    own = {name: [one for one in judged if one.solver == solver] for name, judged in rewards.items()}
    name, judged = next(iter(own.items()))
    banks = _banks(own)
    choosers: dict[str, SampleChooser] = {
        RANDOM: lambda bank, n: subsets.random_one(bank.able, bank.right, n),
        MAJORITY: lambda bank, n: _majority(bank, n, same),
        **{f"{reward}, {how}": partial(_best, reward=reward, how=how) for reward in own for how in RESPONSE_SCORES},
        ORACLE: lambda bank, n: subsets.some_right(bank.able, bank.right, n),
    }
    most = max(len(bank.samples) for bank in banks)
    sizes = [2**k for k in range(most.bit_length()) if 2**k <= most]
    own_ways = [f"{name}, {how}" for how in RESPONSE_SCORES]
    return Gate(
        solver=solver,
        problems=len(banks),
        responses=len(judged),
        finished=sum(one.finished for one in judged),
        right=stats.proportion([sum(bank.right) for bank in banks], [len(bank.samples) for bank in banks]),
        separations={
            view: {reward: separation(list_, steps) for reward, list_ in own.items()} for view, steps in VIEWS.items()
        },
        accuracies={who: {n: _accuracy(banks, choose, n) for n in sizes} for who, choose in choosers.items()},
        gains={
            way: {who: _gain(banks, choosers[way], choosers[who], sizes[-1]) for who in choosers if who not in own_ways}
            for way in own_ways
        },
    )


def _banks(own: Mapping[str, Sequence[Judged]]) -> list[_Bank]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    judged = next(iter(own.values()))
    for place, one in enumerate(judged):
        places[one.problem_id].append(place)
    return [
        _Bank([judged[k] for k in some], {name: [other[k].scores for k in some] for name, other in own.items()})
        for some in places.values()
    ]


def separation(judged: Sequence[Judged], steps: StepView) -> Separation:
    """Of the steps that a view takes of each response of one solver."""
    rows = [(score, one.correct, one.problem_id) for one in judged for score in steps(one)]
    scores, labels, problems = ([score for score, _, _ in rows], [good for _, good, _ in rows], [p for _, _, p in rows])
    return Separation(stats.clustered_auroc(scores, labels, problems), _within(rows))


def _within(rows: Sequence[tuple[float, bool, str]]) -> Estimate | None:
    """Σ_p wins_p / Σ_p pairs_p over problems p, wins the pairs of a good and a bad step that the good one wins."""
    by_problem: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
    for score, good, problem in rows:
        by_problem[problem].append((score, good))
    wins, pairs = [], []
    for some in by_problem.values():
        area = stats.auroc([score for score, _ in some], [good for _, good in some])
        if area is not None:
            goods = sum(good for _, good in some)
            pairs.append(goods * (len(some) - goods))
            wins.append(area * pairs[-1])
    return stats.proportion(wins, pairs) if pairs else None


def _best(bank: _Bank, n: int, *, reward: str, how: str) -> float:
    score = RESPONSE_SCORES[how]
    values = [
        score(scores) if bank.taken(one) else None
        for one, scores in zip(bank.samples, bank.scores[reward], strict=True)
    ]
    return subsets.best(values, bank.right, n)


def _majority(bank: _Bank, n: int, same: SameAnswer) -> float:
    answers = [one.answer or None if bank.taken(one) else None for one in bank.samples]
    ballots = vote(answers, partial(same, bank.samples[0]))
    groups = [(len(one.voters), sum(bank.right[k] for k in one.voters) / len(one.voters)) for one in ballots]
    return subsets.plurality(groups, len(bank.samples), n)


def _enough(banks: Sequence[_Bank], n: int) -> list[_Bank]:
    return [bank for bank in banks if len(bank.samples) >= n]


def _accuracy(banks: Sequence[_Bank], choose: SampleChooser, n: int) -> Estimate:
    """The mean over the problems with n samples; each weighs as many trials as it has samples."""
    some = _enough(banks, n)
    sizes = [len(bank.samples) for bank in some]
    return stats.proportion([size * choose(bank, n) for size, bank in zip(sizes, some, strict=True)], sizes)


def _gain(banks: Sequence[_Bank], first: SampleChooser, second: SampleChooser, n: int) -> Gain:
    some = _enough(banks, n)
    sizes = [len(bank.samples) for bank in some]
    ahead = [size * (first(bank, n) - second(bank, n)) for size, bank in zip(sizes, some, strict=True)]
    return Gain(sum(ahead) / sum(sizes), *stats.paired_interval(ahead, sizes))


def tables(gate: Gate) -> list[TextTable]:
    """Three tables of a gate: steps, choosing one of n, and what choosing by the reward gains."""
    title = f"{gate.solver}: {gate.responses} samples of {gate.problems} problems, {gate.finished} finished"
    steps = [
        [reward, view, estimate(one.overall), estimate(one.within)]
        for view, found in gate.separations.items()
        for reward, one in found.items()
    ]
    sizes = list(next(iter(gate.accuracies.values())))
    chosen = [[who, *(estimate(by_n[n]) for n in sizes)] for who, by_n in gate.accuracies.items()]
    others = list(next(iter(gate.gains.values())))
    gains = [[way, *(str(over[who]) for who in others)] for way, over in gate.gains.items()]
    return [
        TextTable(
            f"{title}; AUROC over steps",
            ["reward", "steps", "AUROC", "within problems"],
            steps,
            ["A step is good where its response's answer is right."],
        ),
        TextTable(
            f"{gate.solver}: right answers, choosing one of n",
            ["chosen by", *(f"n = {n}" for n in sizes)],
            chosen,
            [f"{estimate(gate.right)} of the samples are right. Means over all subsets of n of a problem's samples."],
        ),
        TextTable(f"{gate.solver}: gain at n = {sizes[-1]} over", ["chosen by", *others], gains or [[UNKNOWN]]),
    ]
