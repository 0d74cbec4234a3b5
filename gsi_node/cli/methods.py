"""--list-methods: the table of methods, from their rows."""

from __future__ import annotations

from rich import box
from rich.table import Table

from gsi_node.host.screen import screen
from gsi_node.step.methods import HEADINGS, METHODS, notes


def list_methods() -> None:
    """Write the table to standard output."""
    table = Table(*HEADINGS, box=box.SIMPLE_HEAD, pad_edge=False)
    for method in METHODS.values():
        table.add_row(*method.cells())
    console = screen()
    console.show(table)
    for line in notes():
        console.show(line)
