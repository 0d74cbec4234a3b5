"""What the project's texts tell a reader to type is a command that there is."""

from __future__ import annotations

import re
from pathlib import Path

from gsi_node.cli.__main__ import GSI

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("cli", "pocket.training.evaluate", "pocket.training.train")


def texts() -> dict[str, str]:
    paths = [ROOT / "Makefile", ROOT / ".ci" / "run", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for room in ("gsi_node", "graphs", "evals", "examples"):
        paths += [*(ROOT / room).rglob("*.py"), *(ROOT / room).rglob("*.md")]
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths if path.name != "CHANGELOG.md"}


def test_modules_of_the_package_that_a_text_runs_are_programs() -> None:
    named = re.compile(r"python -m gsi_node\.([a-z_.]*[a-z_])")
    found = [(name, module) for name, text in texts().items() for module in named.findall(text)]
    assert [pair for pair in found if pair[1] not in MODULES] == []
    assert {module for _, module in found} == set(MODULES)


def test_commands_that_a_text_names_are_in_the_table() -> None:
    named = re.compile(r"(?:`|/|^ {2,})gsi ([a-z]+)", re.MULTILINE)
    found = [(name, command) for name, text in texts().items() for command in named.findall(text)]
    assert [pair for pair in found if pair[1] not in GSI.commands] == []
    assert {command for _, command in found} == set(GSI.commands)
