"""python -m evals design runs/bank --primary gsi:rsd-n,gsi:sbon-draft --n 4 --out runs/main: what is run, and for what.

Every problem that the bank leaves undecided (some samples right, some wrong) is solved, and of those that all samples
get right, and those that none does, a random share, at least two of each. The folder holds this in design.json before
any row: `evals run --out runs/main` solves these problems alone, and `evals report` weighs them as they were drawn.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from evals.campaign.bank import samples
from evals.options import integer, number, positive
from evals.report.text_table import TextTable
from evals.run.config import read_config
from evals.run.design import DESIGN, Design, Stratum
from evals.run.folder import make
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.files import write
from gsi_node.host.options import named_path
from gsi_node.host.shell import FAILED, WRONG_CALL, complain
from gsi_node.step.methods import METHODS

UNDECIDED, RIGHT, WRONG = "undecided", "all right", "none right"
LEAST = 2
"""Problems of a stratum that are solved at least: one alone says nothing of how far others differ."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `design`."""
    parser.add_argument("bank", type=named_path, help="the folder of a finished run with --n 1 and several seeds")
    parser.add_argument("--primary", type=pairs, required=True, metavar="A:B,…", help="comparisons, named beforehand")
    parser.add_argument("--n", type=positive, required=True, help="candidates a step of what is compared")
    parser.add_argument("--share", type=number, default=0.1, help="of the decided problems (default 0.1)")
    parser.add_argument("--seed", type=integer, default=0, help="of their draw (default 0)")
    parser.add_argument("--out", type=named_path, required=True, metavar="FOLDER", help="a new folder, for `evals run`")


def pairs(text: str) -> list[tuple[str, str]]:
    """gsi:rsd-n,gsi:sbon-draft."""
    found = []
    for part in text.split(","):
        first, _, second = part.partition(":")
        wrong = [name for name in (first, second) if name not in METHODS]
        if wrong or first == second:
            raise argparse.ArgumentTypeError(f"want two methods with a colon between, such as gsi:rsd-n, got {part!r}")
        found.append((first, second))
    return found


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the bank is none, or not whole, or the folder holds something else; 1 full disk."""
    try:
        design = drawn(options.bank, options.primary, options.n, options.share, options.seed)
        keep(design, options.out)
    except GSIError as error:
        complain(str(error))
        return WRONG_CALL if isinstance(error, ConfigError) else FAILED
    rows = [(one.name, str(one.size), str(len(one.chosen))) for one in design.strata]
    rows.append(("together", str(design.problems), str(len(design.weights))))
    told = [f"Primary, n = {design.n}: {'; '.join(f'{first} − {second}' for first, second in design.primary)}."]
    sys.stdout.write(TextTable(f"Design {options.out}", ("problems", "in the set", "solved"), rows, told).markdown())
    return 0


def drawn(bank: Path, primary: Sequence[tuple[str, str]], n: int, share: float, seed: int) -> Design:
    """The design that a bank calls for; the same each time. Raises ConfigError."""
    if share > 1:
        raise ConfigError(f"--share: want a share from 0 to 1, got {share:g}")
    config, right, count = read_config(bank), Counter[str](), Counter[str]()
    for of in samples(bank).values():
        for id, rows in of.items():
            right[id] += sum(row.correct is True for row in rows)
            count[id] += len(rows)
    whole = max(count.values())
    short = config.problems - sum(one == whole for one in count.values())
    if short:
        raise ConfigError(f"{bank}: {short} of {config.problems} problems lack graded samples; finish the run first")
    strata: dict[str, list[str]] = {UNDECIDED: [], RIGHT: [], WRONG: []}
    for id in count:
        strata[WRONG if right[id] == 0 else RIGHT if right[id] == whole else UNDECIDED].append(id)
    return Design(
        data=config.data,
        problems=config.problems,
        problems_digest=config.problems_digest,
        samples=whole,
        share=share,
        seed=seed,
        strata=[
            Stratum(name=name, size=len(ids), chosen=ids if name == UNDECIDED else _some(ids, share, seed))
            for name, ids in strata.items()
            if ids
        ],
        n=n,
        primary=list(primary),
    )


def _some(ids: Sequence[str], share: float, seed: int) -> list[str]:
    """A random share without replacement, as the hashes of the ids fall."""
    order = sorted(ids, key=lambda id: blake2b(f"{seed} {id}".encode()).digest())
    return sorted(order[: max(LEAST, math.ceil(share * len(ids)))], key=ids.index)


def keep(design: Design, out: Path) -> None:
    """Write it into a folder without rows, where it is not there yet. Raises ConfigError, StorageError."""
    make(out)
    file, told = out / DESIGN, design.to_json()
    if file.exists() and file.read_bytes() == told:
        return
    if any(out.iterdir()):
        raise ConfigError(f"--out {out}: holds something else already; a design comes before the rows: a new folder")
    write(file, told)
