"""The summary of a run: every number of the report, computed once from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.report import notes as remarks
from evals.report import stats
from evals.report.arms import Arms, graded
from evals.report.pairs import Comparison, comparable, compared, primary
from evals.report.reliability import Curve, reliability
from evals.report.tally import Tally, tally
from evals.run.design import Design
from gsi_node.errors import ConfigError

COSTS = ("flops", "seconds")


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What there is to say of one data set. primary: the comparisons that a design named beforehand, corrected for each
    other alone. fronts: by COSTS, the places of the tallies that nothing beats in accuracy
    at the same or a lower cost, by rising cost; in seconds among latencies only, where there are any."""

    data: str
    tallies: Sequence[Tally]
    primary: Sequence[Comparison]
    comparisons: Sequence[Comparison]
    curves: Sequence[Curve]
    fronts: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Summary:
    """rows, errors: counted over the arms that have a graded row; ungraded: over all. notes: to be read first."""

    rows: int
    errors: int
    ungraded: int
    sets: Sequence[DataSummary]
    notes: Sequence[str]


def summarise(
    every: Arms,
    superseded: int,
    *,
    reference: str | None = None,
    data_seed: int = 0,
    design: Design | None = None,
    notes: Sequence[str] = (),
) -> Summary:
    """Tallies, paired differences with Holm-adjusted p-values, reward calibration, Pareto fronts, notes by data set.

    every, superseded: as by_arm gives them. reference: compare only with this method, so that the correction is for
    fewer comparisons. data_seed: that of pocket's problems. design: that drew the problems, where one did. notes: of
    reading the rows, told last. Raises ConfigError where there are no rows, or none of that method.
    """
    if not every:
        raise ConfigError("there are no rows to report on: has the run finished any problem? (results.jsonl is empty)")
    arms = {arm: rows for arm, rows in every.items() if any(map(graded, rows))}
    if not arms:
        raise ConfigError("no row is graded: the same `evals run` tries again, --grading-seconds S gives more time")
    methods = {arm.method for arm in arms}
    if reference is not None and reference not in methods:
        raise ConfigError(f"--reference {reference}: the run has no rows of it, only of {', '.join(sorted(methods))}")
    latest = [row for rows in arms.values() for row in rows]
    tallies = [tally(arm, rows, design) for arm, rows in arms.items()]
    comparisons = compared(comparable(list(arms), reference), arms, arms, design)
    named = [] if design is None else compared(primary(list(arms), design), arms, arms, design)
    curves = reliability(latest, data_seed)
    data = dict.fromkeys(arm.data for arm in arms)
    return Summary(
        rows=len(latest),
        errors=sum(row.error is not None for row in latest),
        ungraded=sum(not graded(row) for rows in every.values() for row in rows),
        sets=[_of(name, tallies, (named, comparisons), curves) for name in data],
        notes=[
            *remarks.of_design(design),
            *remarks.of_rows(arms, superseded),
            *remarks.of_ungraded(every),
            *remarks.of_scans(tallies),
            *notes,
        ],
    )


def _of(
    data: str,
    tallies: Sequence[Tally],
    comparisons: tuple[Sequence[Comparison], Sequence[Comparison]],
    curves: Sequence[Curve],
) -> DataSummary:
    """The part of all these that is about one data set. comparisons: the primary ones, and all."""
    own = [one for one in tallies if one.arm.data == data]
    named, every = ([one for one in some if one.first.data == data] for some in comparisons)
    return DataSummary(
        data=data,
        tallies=own,
        primary=named,
        comparisons=every,
        curves=[one for one in curves if one.data == data],
        fronts={cost: front(own, cost) for cost in COSTS},
    )


def front(tallies: Sequence[Tally], cost: str) -> list[int]:
    """As DataSummary says."""
    costs = {place: spent for place, one in enumerate(tallies) if (spent := one.cost(cost)) is not None}
    if cost == "seconds":
        costs = {place: spent for place, spent in costs.items() if not tallies[place].mark} or costs
    places = list(costs)
    best = stats.pareto(list(costs.values()), [tallies[place].accuracy.value for place in places])
    return [places[k] for k in best]
