"""The parts of README that are made from the code: `python -m tests.readme` writes them (make readme)."""

from __future__ import annotations

from pathlib import Path

from gsi_node.step.methods import HEADINGS, METHODS

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- made by `make readme` -->\n", "<!-- made -->\n"


def methods() -> str:
    """The table of methods, with where each was published."""
    lines = [f"| {' | '.join((*HEADINGS, 'from'))} |", "| --- " * (len(HEADINGS) + 1) + "|"]
    for method in METHODS.values():
        name, *cells = method.cells()
        lines.append(f"| {' | '.join((f'`{name}`', *cells, method.source or '–'))} |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """README with that table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + methods() + END + after


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
