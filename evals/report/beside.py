"""A run's own figures beside the published ones."""

from __future__ import annotations

from evals.report.cells import estimate, known
from evals.report.published import NOTE, PublishedFigure, read_published
from evals.report.stats import Estimate
from evals.report.summary import DataSummary
from evals.report.tally import Tally
from evals.report.text_table import TextTable

ALONE = "A published mean over several sets has nothing beside it."


def beside(pair: str, found: DataSummary) -> TextTable:
    """The figures of a pair, each beside what this run found with the same method and n on one data set."""
    tallies = {(one.arm.method, one.arm.n): one for one in found.tallies}
    lines = []
    for figure in read_published()[pair]:
        own = tallies.get((figure.method, figure.n))
        here = None if own is None else _here(figure, own)
        mark = own.mark if own is not None and here is not None and figure.quantity == "seconds a step" else ""
        ratio = None if here is None else here.value / figure.value
        lines.append([*figure.cells(), estimate(here) + mark, known(ratio, ".2f"), figure.origin])
    columns = ["what", "method", "n", "published", "here", "here / published", "source"]
    return TextTable(f"Published: {pair}", columns, lines, [NOTE, ALONE])


def _here(figure: PublishedFigure, tally: Tally) -> Estimate | None:
    if figure.quantity == "acceptance":
        return tally.acceptance
    if figure.quantity == "seconds a step":
        return None if tally.seconds is None else tally.seconds.per_step
    return None if figure.where else tally.accuracy
