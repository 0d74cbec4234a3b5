"""What a reader must know before reading a number."""

from __future__ import annotations

from collections.abc import Iterable

from evals.report.arms import Arms, graded, quiet
from evals.report.tally import Tally
from evals.run.design import Design


def of_design(design: Design | None) -> list[str]:
    """What a design drew, and what for."""
    if design is None:
        return []
    drawn = ", ".join(f"{len(one.chosen)} of {one.size} {one.name}" for one in design.strata)
    named = ", ".join(f"{first} − {second}" for first, second in design.primary)
    return [
        f"The problems were drawn by design.json from {design.samples} samples of each of {design.problems}: {drawn}. "
        "Accuracies and differences are weighed, and speak of all of them; the other numbers are of the drawn ones. "
        f"Primary comparisons, named before the run: {named}, n = {design.n}."
    ]


def of_rows(arms: Arms, superseded: int) -> list[str]:
    """Errors, superseded rows, seconds that are none or under load, arms that lack rows, a single seed."""
    found = []
    rows = [row for group in arms.values() for row in group]
    errors = [row.error.type for row in rows if row.error is not None]
    if errors:
        kinds = ", ".join(sorted(set(errors)))
        found.append(
            f"{len(errors)} of {len(rows)} rows ended in an error ({kinds}). They count as wrong answers and are left "
            "out of every cost."
        )
    if superseded:
        found.append(f"{superseded} rows were superseded by a later row for the same problem, method, n and seed.")
    shared = sum(row.shared for row in rows)
    if shared:
        found.append(f"{shared} rows were made with --memo: their seconds are no timings, and are in no table or plot.")
    busy = sorted({(row.concurrency, row.workers) for row in rows if not quiet(row) and not row.shared})
    if busy:
        loads = ", ".join(f"{c} in flight × {w} processes" for c, w in busy)
        found.append(f"Seconds of some rows were measured under load ({loads}): marked †, they are not latencies.")
    found += of_missing(arms)
    if rows and not any(len({row.seed for row in group}) > 1 for group in arms.values()):
        found.append("One seed: intervals are for other problems of this kind, not for other draws on these.")
    return found


def of_missing(arms: Arms) -> list[str]:
    """Arms that have fewer problems × seeds than others of their data set."""
    found = []
    sizes = {arm: len({(row.problem_id, row.seed) for row in rows}) for arm, rows in arms.items()}
    for data in dict.fromkeys(arm.data for arm in arms):
        here = {arm: size for arm, size in sizes.items() if arm.data == data}
        short = [f"{arm.label} ({size})" for arm, size in here.items() if size < max(here.values())]
        if short:
            found.append(
                f"{data}: not every setting has all {max(here.values())} problems × seeds: {'; '.join(short)}. "
                "Accuracies are over what there is; differences are over common problems and seeds only."
            )
    return found


def of_ungraded(arms: Arms) -> list[str]:
    """How many rows are ungraded, where, and how far they could move an accuracy."""
    found = []
    for arm, rows in arms.items():
        count = sum(not graded(row) for row in rows)
        name = f"{arm.data}: {arm.label}"
        if count == len(rows):
            found.append(f"{name} is left out: none of its {count} rows is graded.")
        elif count:
            found.append(
                f"{name}: {count} of {len(rows)} rows are ungraded. They are in no accuracy and no comparison, which "
                f"they could move by {100 * count / len(rows):.2g} points; their costs count. The same `evals run` "
                "tries them again."
            )
    return found


def of_scans(tallies: Iterable[Tally]) -> list[str]:
    """How early a method stopped, and how often its clip changed the target."""
    return [
        f"{one.arm.data}: {one.arm.label} judged {100 * one.scan.judged:.0f} % of its candidates; "
        f"{100 * one.scan.hit:.0f} % of {one.scan.batches} batches hit the envelope; the clip bound "
        f"{100 * one.scan.clipped:.1f} % of the log-ratios."
        for one in tallies
        if one.scan is not None
    ]
