"""Where finished rows go: the file, the standings, the display; and config.json before the first of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.rows.appender import Appender
from evals.rows.lines import to_line
from evals.rows.row import Row, RowKey, Standing
from evals.run.crew import Done
from evals.run.folder import keep
from evals.run.plan import Plan
from evals.run.progress import RunMeter


@dataclass(slots=True)
class Ledger:
    """The rows of a plan in a folder. standings: of those that are there, by key."""

    plan: Plan
    folder: Path
    appender: Appender
    meter: RunMeter
    standings: dict[RowKey, Standing]

    def begin(self, fingerprints: dict[str, str]) -> None:
        """Models are loaded. Raises ConfigError where they are others than the folder's, StorageError."""
        keep(self.folder, self.plan, fingerprints)
        self.meter.begin()

    def write(self, done: Done) -> None:
        """A row was made. Raises StorageError."""
        self.appender.append(done.line)
        self.standings[self.plan.key(done.task)] = done.standing
        self.meter.row(done.error)

    def write_again(self, row: Row) -> None:
        """A row was graded again. Raises StorageError."""
        self.appender.append(to_line(row))
        self.standings[row.key] = row.standing
