"""python -m evals pack runs/main --out results/main: a run's rows to keep and pass on, compressed, without the data
set's own text.

Left out are problems and gold answers, and of what models wrote every sentence of its problem, of FEWEST_WORDS words or
more, which then reads "[problem]"; of errors what they say. Ids, answers, rewards, tokens, costs and the commit of each
row stay. `evals report`, `compare`, `bank` and `design` read the folder as they read the run's.
"""

from __future__ import annotations

import argparse
import lzma
import re
import sys
from pathlib import Path

from evals.rows.lines import PACKED_RESULTS, read_results, to_line
from evals.rows.row import Row
from evals.rows.verdicts import VERDICTS
from evals.run.config import CONFIG, read_config
from evals.run.design import DESIGN
from evals.run.folder import make
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.files import write
from gsi_node.host.options import named_path
from gsi_node.host.shell import FAILED, WRONG_CALL, complain

FEWEST_WORDS = 4
MASK = "[problem]"
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pack`."""
    parser.add_argument("folder", type=named_path, help="a run's folder, as given to `evals run --out`")
    parser.add_argument("--out", type=named_path, required=True, metavar="FOLDER", help="a new folder")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the folder holds no run, or --out something else; 1 full disk."""
    try:
        rows = pack(options.folder, options.out)
    except GSIError as error:
        complain(str(error))
        return WRONG_CALL if isinstance(error, ConfigError) else FAILED
    commits = ", ".join(sorted({row.commit or "an unknown commit" for row in rows}))
    size = (options.out / PACKED_RESULTS).stat().st_size
    sys.stderr.write(f"{len(rows)} rows of {commits} in {size / 1e6:.2f} MB: {options.out / PACKED_RESULTS}\n")
    return 0


def pack(folder: Path, out: Path) -> list[Row]:
    """Write the packed folder; returns its rows. Of a row made twice the one that counts is kept.

    Raises ConfigError where `folder` holds no run or `out` something else, StorageError.
    """
    read_config(folder)
    rows = [masked(row) for row in read_results(folder).rows]
    make(out)
    if any(path.name not in (PACKED_RESULTS, CONFIG, DESIGN, VERDICTS) for path in out.iterdir()):
        raise ConfigError(f"--out {out}: holds something else; name a new folder")
    for name in (CONFIG, DESIGN, VERDICTS):
        if (folder / name).exists():
            write(out / name, (folder / name).read_bytes())
    write(out / PACKED_RESULTS, lzma.compress(b"".join(map(to_line, rows)), preset=9))
    return rows


def masked(row: Row) -> Row:
    """The row without its problem's text."""
    sentences = (found.split() for found in _SENTENCE.split(row.problem))
    parts = [r"\s+".join(map(re.escape, words)) for words in sentences if len(words) >= FEWEST_WORDS]
    pattern = re.compile("|".join(sorted(parts, key=len, reverse=True)) or r"(?!)", re.IGNORECASE)
    told = {**row.model_dump(exclude_unset=True), "problem": "", "gold": ""}
    if row.error is not None:
        told["error"] = {"type": row.error.type, "message": ""}
    return Row.model_validate(_without(pattern, told))


def _without(pattern: re.Pattern[str], value: object) -> object:
    """Every text within, masked; of a step's text what is thought apart from the answer, whose beginning is known."""
    if isinstance(value, str):
        return pattern.sub(MASK, value)
    if isinstance(value, list):
        return [_without(pattern, one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _without(pattern, one) for name, one in value.items()}
    if found.get("text") and (thought := found.get("thought")):
        parts = [pattern.sub(MASK, part) for part in (value["text"][:thought], value["text"][thought:])]
        found |= {"text": "".join(parts), "thought": len(parts[0])}
    return found
