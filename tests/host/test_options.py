"""Options that name files: an empty text is refused, not the working folder or a file that is lost."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(file for room in ("gsi_node", "evals", "graphs") for file in (ROOT / room).rglob("*.py"))


def _careless(source: str) -> list[int]:
    """The lines of options that name a file or a folder, by their metavar or their type, and take an empty text."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            names = given.get("metavar", "").strip("'").startswith(("FILE", "FOLDER"))
            if given.get("type") == "Path" or (names and given.get("type") not in ("named_path", "path_text")):
                found.append(call.lineno)
    return found


def test_no_option_reads_an_empty_text_as_a_path() -> None:
    assert {str(file): lines for file in FILES if (lines := _careless(file.read_text("utf-8")))} == {}
    assert sum("type=named_path" in file.read_text("utf-8") for file in FILES) > 8


@pytest.mark.parametrize(
    "option", ['"--out", type=Path', '"--config", metavar="FILE.toml"', '"a", metavar="FOLDER", type=str']
)
def test_a_planted_option_is_found(option: str) -> None:
    assert _careless(f"parser.add_argument('x')\nparser.add_argument({option})\n") == [2]
