"""List the methods by which a step can be decided."""

from __future__ import annotations

import argparse

from gsi_node.host.shell import DONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def main(options: argparse.Namespace) -> int:
    """Write the table to standard output; the exit code."""
    from rich import box
    from rich.table import Table

    from gsi_node.host.screen import screen
    from gsi_node.step.methods import HEADINGS, METHODS, notes

    table = Table(*HEADINGS, box=box.SIMPLE_HEAD, pad_edge=False)
    for method in METHODS.values():
        table.add_row(*method.cells())
    console = screen()
    console.show(table, *notes())
    return DONE
