"""A report as a value, of which report.md and report.html are two renderings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.report.arms import Arms
from evals.report.markdown import quoted
from evals.report.summary import Summary
from evals.report.text_table import TextTable
from evals.run.config import RunConfig

LEGEND = """\
Brackets are 95 % intervals, clustered by problem where there are several seeds. Acceptance: accepted steps over decided
steps. p (Holm): two-sided exact paired test, adjusted for all comparisons of this report. †: measured under load, not a
latency. Seconds of draft, base and reward: of each model's calls; the base scores while the reward judges, so they may
add up to more than the wall's. Rest: wall seconds in which no model worked. Formulas: docs/evals.md.
"""


@dataclass(frozen=True, slots=True)
class PlotFiles:
    """A plot of one data set: its files, and what they show."""

    title: str
    caption: str
    png: Path
    svg: Path
    wide: bool


@dataclass(frozen=True, slots=True)
class Report:
    """name: of the run. about: its models and settings. tables: by data set."""

    name: str
    config: RunConfig
    about: TextTable
    arms: Arms
    summary: Summary
    tables: Mapping[str, Sequence[TextTable]]
    drawn: Sequence[PlotFiles]

    def markdown(self) -> str:
        """The whole report but for its rows; of plots their files."""
        parts = [f"# {quoted(self.name)}\n", *(f"> {quoted(note)}\n" for note in self.summary.notes)]
        parts.append(self.about.markdown())
        for data, tables in self.tables.items():
            parts += [f"## {quoted(data)}\n", *(table.markdown() for table in tables)]
        if self.drawn:
            files = [(f"plots/{one.png.name}", one.title) for one in self.drawn]
            parts.append(TextTable("Plots", ("plot", "shows"), files).markdown())
        return "\n".join([*parts, LEGEND])
