"""python -m tests.house [ROOT] [--against OTHER] [--rooms FILE] [--json]: the figures of one tree or of two.

The standard library alone is used, and nothing of the tree is imported.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .measure import Measured, measure
from .rules import violations

_HERE = Path(__file__).resolve().parents[2]


def table(columns: dict[str, Measured]) -> str:
    """One aligned line a figure, one column a tree."""
    labels = list(dict.fromkeys(label for column in columns.values() for label in column["figures"]))
    rows = [["", *columns]]
    for label in labels:
        values = [column["figures"].get(label) for column in columns.values()]
        rows.append([label, *("–" if value is None else f"{value:,g}" for value in values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
    return "\n".join(lines) + "\n"


def listing(measured: Measured) -> str:
    """What was counted, under the label of its figure."""
    blocks = ("\n".join([f"{label}:", *(f"  {line}" for line in found)]) for label, found in _found(measured))
    return "\n\n".join(blocks)


def _found(measured: Measured) -> list[tuple[str, list[str]]]:
    return [(label, found) for label, found in measured["places"].items() if found]


def main(arguments: list[str] | None = None) -> None:
    """Prints the table, and the places behind the figures of ROOT."""
    parser = argparse.ArgumentParser(prog="python -m tests.house", description="The figures of the house.")
    parser.add_argument("root", type=Path, nargs="?", default=_HERE, help="a checkout (default: this one)")
    parser.add_argument(
        "--against", type=Path, help="another checkout, or what --json printed of one: the column before"
    )
    parser.add_argument("--rooms", type=Path, help="JSON, {old module: new place}, for the checkout before, or alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--refused", action="store_true", help="print what the house refuses, with its rooms")
    options = parser.parse_args(arguments)
    if options.refused:
        found = [violation.line for violation in violations(measure(options.root))]
        sys.stdout.write("".join(f"{line}\n" for line in found))
        raise SystemExit(1 if found else 0)
    moved = json.loads(options.rooms.read_text("utf-8")) if options.rooms else None
    columns: dict[str, Measured] = {}
    if options.against is None:
        columns["now"] = measure(options.root, moved)
    else:
        saved = options.against.is_file()
        columns["before"] = (
            json.loads(options.against.read_text("utf-8"))["now"] if saved else measure(options.against, moved)
        )
        columns["now"] = measure(options.root)
    if options.json:
        sys.stdout.write(json.dumps(columns, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(f"{table(columns)}\n{listing(columns['now'])}\n")


if __name__ == "__main__":
    main()
