"""A table as a value: Markdown, which a terminal shows as it is, and HTML are made of the same cells. Numbers stand at
the right of their columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from evals.report.markdown import quoted, quoted_cell

NUMBER = re.compile(r"(?:< ?|[+\-−])?[0-9]|–$")
"""How a cell of numbers begins; – is one that is not known."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """rows: cells as text, one a column. title: above it in HTML. notes: what to know of it, below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def numeric(self) -> list[bool]:
        """Whether each column holds numbers alone."""
        return [all(map(NUMBER.match, cells)) for cells in zip(*self.rows, strict=True)] or [False] * len(self.columns)

    def markdown(self) -> str:
        """Aligned columns; nothing in a cell or note is read as Markdown or HTML."""
        lines = [[quoted_cell(cell) for cell in line] for line in (self.columns, *self.rows)]
        right = self.numeric()
        widths = [max(1 + number, *map(len, column)) for number, *column in zip(right, *lines, strict=True)]
        padded = [
            " | ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(line, widths, right, strict=True)
            )
            for line in lines
        ]
        rule = " | ".join("-" * (width - number) + ":" * number for width, number in zip(widths, right, strict=True))
        notes = "".join(f"\n{quoted(note)}\n" for note in self.notes)
        return "\n".join(f"| {line} |" for line in (padded[0], rule, *padded[1:])) + "\n" + notes

    def html(self) -> str:
        """With its title as a heading; nothing in it is read as HTML."""
        classes = [' class="n"' if number else "" for number in self.numeric()]

        def line(tag: str, cells: Sequence[str], more: str = "") -> str:
            made = zip(cells, classes, strict=True)
            return "<tr>" + "".join(f"<{tag}{more}{kind}>{escape(cell)}</{tag}>" for cell, kind in made) + "</tr>"

        head, body = line("th", self.columns, ' scope="col"'), "\n".join(line("td", row) for row in self.rows)
        notes = "".join(f'\n<p class="dim">{escape(note)}</p>' for note in self.notes)
        return (
            f"<h3>{escape(self.title)}</h3>\n"
            f'<div class="scroll"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>{notes}'
        )
