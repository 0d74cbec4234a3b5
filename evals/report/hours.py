"""How many GPU hours a comparison takes: steps, times the seconds of one, times the GPUs that are held meanwhile.

  hours = GPUs · Σ problems · seeds · steps a problem · seconds a step / 3600

One problem at a time: with several in flight it is less, and how much less only a run tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.report.published import PublishedFigure
from evals.report.text_table import TextTable
from gsi_node.tools.bench_sizes import SizesRecord

SecondsAStep = Mapping[tuple[str, int], float]
"""By method and n."""


def of_figures(figures: Sequence[PublishedFigure]) -> SecondsAStep:
    """Those that are published."""
    return {(one.method, one.n): one.value for one in figures if one.quantity == "seconds a step"}


def of_sizes(record: SizesRecord, acceptance: float) -> SecondsAStep:
    """Of what `gsi bench --models …` or `--shape` measured, at a share of accepted steps; of the longest prefix."""
    found: dict[tuple[str, int], float] = {}
    for cell in sorted(record.cells, key=lambda cell: cell.prefix):
        seconds = cell.seconds
        found["gsi", cell.n] = seconds.gsi(acceptance)
        found["rsd-n", cell.n] = seconds.drafting(acceptance) + seconds.reward + seconds.fallback(acceptance)
        found["sbon-draft", cell.n] = seconds.draft + seconds.reward
        found["sbon-base", cell.n] = seconds.sbon_base
    return found


def table(title: str, seconds: SecondsAStep, *, problems: int, seeds: int, steps: int, gpus: int) -> TextTable:
    """A line a method and n, and their sum."""
    hours = {arm: gpus * problems * seeds * steps * spent / 3600 for arm, spent in seconds.items()}
    lines = [[method, str(n), f"{seconds[method, n]:.3g}", f"{hours[method, n]:.3g}"] for method, n in seconds]
    lines.append(["all", "", "", f"{sum(hours.values()):.3g}"])
    note = (
        f"{problems} problems × {seeds} seeds × {steps} steps a problem, {gpus} GPUs held, one problem at a time: with "
        "several in flight it is less."
    )
    return TextTable(title, ["method", "n", "seconds a step", "GPU hours"], lines, [note])
