"""The skeletons of docs/architecture.md, put into a copy of the tree, and the commands under them, run there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
FOLDERS = ("gsi_node", "evals", "graphs")
NUMBERS = {"one": 1, "two": 2}
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_WHERE = re.compile(r'# (?P<path>\S+?)(?:, after "(?P<line>.+)")?')


@dataclass(frozen=True, slots=True)
class Section:
    """One "Add a …": how many files it says it touches, its blocks (language, text) in order."""

    files: int
    blocks: tuple[tuple[str, str], ...]

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of its sh blocks."""
        return [shlex.split(line) for kind, text in self.blocks if kind == "sh" for line in text.splitlines()]


def section(thing: str) -> Section:
    """The section of the page that adds one `thing`."""
    page = PAGE.read_text("utf-8")
    found = re.search(rf"^## Add an? {thing}: (\w+) files?$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/architecture.md does not say how to add a {thing}"
    return Section(NUMBERS[found[1]], tuple(_FENCED.findall(found[2])))


class Copy:
    """A copy of the tree's code, into which skeletons are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, section: Section) -> set[str]:
        """Puts every block where its first line says. Returns the files touched."""
        touched = set()
        for kind, text in section.blocks:
            head, _, body = text.partition("\n")
            where = _WHERE.fullmatch(head)
            if kind == "sh" or where is None:
                continue
            path = self.folder / where["path"]
            touched.add(where["path"])
            if where["line"] is None:
                assert not path.exists(), f"{where['path']} is there already"
                path.write_text(body, "utf-8")
                continue
            lines = path.read_text("utf-8").splitlines(keepends=True)
            places = [number for number, line in enumerate(lines, 1) if line.startswith(where["line"])]
            assert len(places) == 1, f"{where['path']} has {len(places)} lines that begin with {where['line']!r}"
            lines.insert(places[0], body)
            path.write_text("".join(lines), "utf-8")
        return touched

    def run(self, command: list[str], code: int = 0) -> str:
        """What a command prints, started in the copy as a user would."""
        program = {"python": [sys.executable], "gsi": [sys.executable, "-m", "gsi_node.cli"]}[command[0]]
        done = subprocess.run(
            [*program, *command[1:]],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr
