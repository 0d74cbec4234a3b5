"""What rows are pooled under, and what every reader of rows asks of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.rows.row import Row, RowKey, StepRecord
from gsi_node.step.config import DEFAULT
from gsi_node.step.methods import METHODS
from gsi_node.step.records import UNMEASURED


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of solving one data set; its rows differ in problem and seed."""

    data: str
    method: str
    n: int
    temperature: float

    @property
    def label(self) -> str:
        """gsi, n = 4."""
        return f"{self.method}, n = {self.n}"

    @property
    def name(self) -> str:
        """gsi, or gsi (T = 1) at another temperature than the default."""
        return self.method + ("" if self.temperature == DEFAULT.temperature else f" (T = {self.temperature:g})")

    @property
    def order(self) -> tuple[str, int, str, int, float]:
        """Methods in the order of METHODS, others after them."""
        known = list(METHODS)
        place = known.index(self.method) if self.method in METHODS else len(known)
        return self.data, place, self.method, self.n, self.temperature


Arms = Mapping[Arm, Sequence[Row]]


def by_arm(rows: Iterable[Row]) -> tuple[Arms, int]:
    """Rows by arm in a fixed order, and how many rows were superseded: of two rows with one key the last counts."""
    latest: dict[tuple[Arm, RowKey], Row] = {}
    total = 0
    for row in rows:
        total += 1
        latest[Arm(row.data, row.method, row.n, row.temperature), row.key] = row
    groups: defaultdict[Arm, list[Row]] = defaultdict(list)
    for (arm, _), row in latest.items():
        groups[arm].append(row)
    return {arm: groups[arm] for arm in sorted(groups, key=lambda arm: arm.order)}, total - len(latest)


def graded(row: Row) -> bool:
    """Whether a row counts as right or wrong: an error is wrong, an ungraded row is neither."""
    return row.standing != "ungraded"


def quiet(row: Row) -> bool:
    """Whether a row's seconds are a latency: one problem in flight, in one process, its models asked for itself."""
    return row.concurrency == 1 and row.workers == 1 and not row.shared


def decided(row: Row) -> list[StepRecord]:
    """The steps that the method decided: none that came with the problem or closed thinking, and no person's."""
    return [step for step in row.steps if step.source not in UNMEASURED and step.accepted_by is None]


def drafted(step: StepRecord) -> StepRecord:
    """The batch that was put to the test: after a fallback the refused draft, otherwise the step's own."""
    return step.rejected or step


def forward_flops(row: Row) -> float | None:
    """Of all models that were asked; None where one of them is of unknown size."""
    return sum(row.flops.values()) if row.flops and row.flops.keys() >= row.usage.keys() else None


def clustered(
    rows: Iterable[Row], value: Callable[[Row], float], count: Callable[[Row], float] = lambda row: 1
) -> tuple[list[float], list[float]]:
    """Sums of value and of count by problem, as two lists in one order."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        entry = sums[row.problem_id]
        entry[0] += value(row)
        entry[1] += count(row)
    return [entry[0] for entry in sums.values()], [entry[1] for entry in sums.values()]
