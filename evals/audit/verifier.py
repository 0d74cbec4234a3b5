"""What VerifierReward says of reference solutions: python evals/audit/verifier.py FOLDER [--show].

FOLDER (default: $GSI_DATA_DIR) holds gsm8k.jsonl, math500.jsonl …; a line of GSM8K and a paragraph elsewhere is a step.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path
from gsi_node.host.screen import Screen
from gsi_node.host.shell import Parser, ending
from gsi_node.host.strict_json import parsed
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.types import Prefix, Step

SOURCES = {"gsm8k": ("answer", "\n"), "math500": ("solution", "\n\n")} | dict.fromkeys(
    ("olympiadbench", "minerva_math"), ("solution", "\n\n")
)
"""Data set: the field of the reference solution, and what separates its steps."""


def steps(path: Path) -> Iterator[str]:
    """The steps of every reference solution in a data set."""
    field, separator = SOURCES[path.stem]
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{path}, line {number}"
            row = parsed(line, place)
            solution = row.get(field) if isinstance(row, dict) else None
            told = [solution] if isinstance(solution, str) else solution
            if not isinstance(told, list) or not all(isinstance(part, str) for part in told):
                raise ConfigError(f"{place}: want an object with a text {field!r}")
            for part in told:
                yield from part.split(separator)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=named_path, default=os.environ.get("GSI_DATA_DIR"))
    parser.add_argument("--show", action="store_true", help="print the steps that are called false")
    options = parser.parse_args()
    if options.folder is None:
        parser.error("no data: name the folder with gsm8k.jsonl, or set GSI_DATA_DIR")
    console = Screen()
    table = Table("reference solutions", "steps", "worth 1", "prior", "worth 0", "ms a step")
    judge = VerifierReward()
    for path in (Path(options.folder) / f"{name}.jsonl" for name in SOURCES):
        texts = list(steps(path)) if path.exists() else []
        start = time.process_time()
        rewards = judge(Prefix(""), [Step(text, (), 0.0, False) for text in texts])
        spent = time.process_time() - start
        counts = Counter(rewards)
        numbers = [len(texts), counts[1.0], counts[0.5], counts[0.0]]
        table.add_row(path.stem, *(f"{number:,}" for number in numbers), f"{1000 * spent / max(len(texts), 1):.2f}")
        if options.show:
            console.print(
                *(text for text, reward in zip(texts, rewards, strict=True) if reward == 0.0),
                sep="\n---\n",
                markup=False,
            )
    console.print(table)


if __name__ == "__main__":
    with ending():
        main()
