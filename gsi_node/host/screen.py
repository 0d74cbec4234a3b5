"""The console of standard output or standard error."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, RenderableType

WIDEST = 100  # columns: longer lines are hard to read


class Screen(Console):
    """A rich console that leaves a broken pipe to its caller, and no spaces at the ends of plain lines."""

    def on_broken_pipe(self) -> None:
        raise  # rich calls this while it handles the BrokenPipeError

    def show(self, *items: RenderableType, style: str | None = None) -> None:
        """Print each item, at once."""
        for item in items:
            if self.is_terminal:
                self.print(item, style=style)
                continue
            with self.capture() as captured:
                self.print(item, style=style)
            self.file.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))
            self.file.flush()


def screen(file: TextIO | None = None) -> Screen:
    """A console on `file` (standard output): plain text where it is no terminal; texts are never read as markup."""
    console = Screen(file=file or sys.stdout, markup=False, highlight=False, emoji=False)
    console.width = min(console.width, WIDEST)
    return console
