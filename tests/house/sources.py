"""The files of a tree, their syntax, and their lines without what is no code."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOLDERS = ("gsi_node", "evals", "graphs")


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root, its dotted name, its text."""

    path: str
    module: str
    text: str

    @property
    def package(self) -> bool:
        """Whether relative imports start at the module itself."""
        return self.path.endswith("/__init__.py")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def raw_lines(self) -> int:
        """Physical lines."""
        return len(self.text.splitlines())

    @cached_property
    def code(self) -> list[tuple[int, str]]:
        """Number and text of each line that is code: no blank ones, comments or docstrings; blanks in a row are one."""
        lines = self.text.splitlines()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
        hidden = {number for node in _docstrings(self.tree) for number in span(node)}
        numbered = ((number, " ".join(line.split())) for number, line in enumerate(lines, 1))
        return [(number, line) for number, line in numbered if line and number not in hidden]


def span(node: ast.stmt) -> range:
    """The numbers of the lines that a statement stands on."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that are nothing but a string: docstrings, and those under an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node


def read(root: Path, folder: str) -> list[Source]:
    """Every Python file of a top-level folder, in the order of the paths."""
    found = []
    for path in sorted((root / folder).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Source(path.relative_to(root).as_posix(), module, path.read_text("utf-8")))
    return found
