"""Paired differences of accuracy between arms, and which pairs of arms are worth a test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evals.report import stats, two_phase
from evals.report.arms import Arm, Arms, graded
from evals.report.stats import Difference
from evals.rows.row import Row
from evals.run.design import Design
from gsi_node.step.methods import METHODS

Verdicts = Mapping[str, Mapping[int, bool]]  # problem id → seed → correct


@dataclass(frozen=True, slots=True)
class Comparison:
    """First minus second. p_holm: the p-value corrected for all comparisons that were made with it."""

    first: Arm
    second: Arm
    difference: Difference
    p_holm: float

    @property
    def label(self) -> str:
        """gsi − rsd-n, n = 4; or with both n where they differ."""
        if self.first.n == self.second.n:
            return f"{self.first.method} − {self.second.method}, n = {self.first.n}"
        return f"{self.first.label} − {self.second.label}"

    @property
    def points(self) -> str:
        """The difference in percentage points, with its interval."""
        value, low, high = (100 * one for one in (self.difference.value, self.difference.low, self.difference.high))
        return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def verdicts(rows: Sequence[Row]) -> Verdicts:
    """Whether the answers were right (an error is not); ungraded rows are left out."""
    found: defaultdict[str, dict[int, bool]] = defaultdict(dict)
    for row in filter(graded, rows):
        found[row.problem_id][row.seed] = row.correct is True
    return found


def paired(first: Verdicts, second: Verdicts, design: Design | None = None) -> Difference | None:
    """First minus second over the problems and seeds that both have, weighed as a design drew them; None where they
    share none."""
    found = {}
    for problem in filter(second.__contains__, first):  # in a fixed order: sums of floats depend on it
        if seeds := first[problem].keys() & second[problem].keys():
            found[problem] = sum(int(first[problem][s]) - int(second[problem][s]) for s in seeds), len(seeds)
    if not found:
        return None
    if design is not None:
        return two_phase.difference(design, found)
    differences, counts = zip(*found.values(), strict=True)
    return stats.paired_difference(differences, counts)


def compared(
    pairs: Sequence[tuple[Arm, Arm]], first: Arms, second: Arms, design: Design | None = None
) -> list[Comparison]:
    """Those pairs that share rows, with p-values corrected (Holm) for all of them."""
    ours, theirs = ({arm: verdicts(rows) for arm, rows in arms.items()} for arms in (first, second))
    found = [(a, b, paired(ours[a], theirs[b], design)) for a, b in pairs]
    tested = [(a, b, difference) for a, b, difference in found if difference is not None]
    adjusted = stats.holm([difference.p_value for _, _, difference in tested])
    return [Comparison(*one, p) for one, p in zip(tested, adjusted, strict=True)]


def comparable(arms: Sequence[Arm], reference: str | None) -> list[tuple[Arm, Arm]]:
    """The pairs worth a test: one data set and temperature, two methods, equal n, or one of them has only one n."""
    counts: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for arm in arms:
        counts[arm.data, arm.method].add(arm.n)
    pairs = [
        (a, b)
        for a, b in combinations(arms, 2)
        if (a.data, a.temperature) == (b.data, b.temperature)
        and a.method != b.method
        and (a.n == b.n or 1 in (len(counts[a.data, a.method]), len(counts[b.data, b.method])))
        and (reference is None or reference in (a.method, b.method))
    ]
    return sorted(pairs, key=lambda pair: (pair[0].order[:3], pair[1].order[:3], pair[0].n, pair[1].n))


def primary(arms: Sequence[Arm], design: Design) -> list[tuple[Arm, Arm]]:
    """The pairs that a design named beforehand, as far as the run has rows of them."""
    own = {arm.method: arm for arm in arms if arm.data == design.data and arm.n == _n(arm.method, design)}
    return [(own[first], own[second]) for first, second in design.primary if first in own and second in own]


def _n(method: str, design: Design) -> int:
    """Of a method that draws one candidate whatever n says, 1."""
    return 1 if method in METHODS and METHODS[method].single else design.n
