"""What a run shows while it goes: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 30.0


class RunMeter:
    """Counts rows, or other things by their name. total: those still to be made. A context manager; writes on standard
    error."""

    def __init__(self, total: int, things: str = "rows") -> None:
        self.total = total
        self.things = things
        self.made = self.failed = 0
        self._console = Console(file=sys.stderr, markup=False, highlight=False)
        self._bar: Progress | None = None
        self._begun: float | None = None
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left:"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self._console,
                refresh_per_second=4,
                speed_estimate_period=120,
            )
            self._task = self._bar.add_task("loading the models", total=self.total, start=False, rate="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self) -> None:
        """The models are loaded."""
        if self._begun is None:
            self._begun = self._told = time.monotonic()
            if self._bar is not None:
                self._bar.start_task(self._task)
                self._bar.update(self._task, description=self.things)

    def row(self, error: str | None) -> None:
        """A row was written."""
        self.made += 1
        self.failed += error is not None
        if error is not None and self.failed <= 5:
            self.say(f"a row failed: {error[:300]}")
        if self._bar is not None:
            failed = f", {self.failed} failed" if self.failed else ""
            self._bar.update(self._task, advance=1, rate=f"{self.rate:.1f} {self.things}/s{failed}")
        elif time.monotonic() - self._told > LINE_SECONDS:
            self._told = time.monotonic()
            left = (self.total - self.made) / self.rate
            rate = f"{self.rate:.1f} {self.things}/s"
            self.say(f"{self.made} of {self.total} {self.things}, {rate}, {span(left)} left, {self.failed} failed")

    @property
    def rate(self) -> float:
        """Rows a second since the models were loaded."""
        return self.made / max(self.seconds, 1e-3)

    @property
    def seconds(self) -> float:
        """Since the models were loaded."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """A line on standard error."""
        self._console.print(text, soft_wrap=True)


def span(seconds: float) -> str:
    """A time as people read it: 40 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
