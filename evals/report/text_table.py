"""A table as a value: Markdown, which a terminal shows as it is, and HTML are made of the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from evals.report.markdown import quoted, quoted_cell


@dataclass(frozen=True, slots=True)
class TextTable:
    """rows: cells as text, one a column. title: above it in HTML. notes: what to know of it, below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Aligned columns; nothing in a cell or note is read as Markdown or HTML."""
        lines = [[quoted_cell(cell) for cell in line] for line in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        rule = " | ".join("-" * width for width in widths)
        notes = "".join(f"\n{quoted(note)}\n" for note in self.notes)
        return "\n".join(f"| {line} |" for line in (padded[0], rule, *padded[1:])) + "\n" + notes

    def html(self) -> str:
        """With its title as a heading; nothing in it is read as HTML."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in self.rows)
        notes = "".join(f'\n<p class="dim">{escape(note)}</p>' for note in self.notes)
        return (
            f"<h3>{escape(self.title)}</h3>\n"
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{notes}'
        )
