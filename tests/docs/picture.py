"""The README's picture: a problem solved by the shipped models, as `gsi solve` shows it. `make picture` draws it anew.

No font is fetched, and what takes seconds is told as it was measured once: nothing else differs from run to run.
"""

from __future__ import annotations

import argparse
import html
import io
import re
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from gsi_node import build_math_solver
from gsi_node.cli import view
from gsi_node.cli.arguments import add_arguments
from gsi_node.cli.problems import SAMPLE_PROBLEMS
from gsi_node.cli.start import start

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "figures" / "solve.svg"
COLUMNS = 96
WALL, SECONDS = (
    0.3,
    {"draft": 0.11, "base": 0.16, "reward": 0.09},
)  # processor seconds, AMD EPYC, 2026-11-30
_FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)  # rich names a web address


def drawn() -> str:
    """The picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), markup=False, highlight=False, emoji=False)
    console.print(*_page(SAMPLE_PROBLEMS[-1]), sep="\n")
    form = _FONTS.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title="gsi solve", code_format=form, unique_id="gsi")


def _page(problem: str) -> list[Any]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    job = start(parser.parse_args([problem]))
    solved = build_math_solver(config=job.config).compile().invoke({"problem": job.problems[0].text})
    usage = {role: {**bill, "seconds": SECONDS[role]} for role, bill in solved["usage"].items()}
    steps = [view.step(record, i, job.config) for i, record in enumerate(solved["samples"][0]["steps"])]
    about = [view.heading(problem, 1, 1), *steps, view.result(solved, WALL)]
    return [*about, view.closing([{**solved, "usage": usage}], job.config)]


def words(svg: str) -> str:
    """What a picture says, its lines and spaces aside."""
    return " ".join(html.unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))).split())


def main() -> None:
    """Draws it."""
    PICTURE.write_text(drawn(), "utf-8")


if __name__ == "__main__":
    main()
