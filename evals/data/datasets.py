"""Problems by the name of their set: `load("math500")`, `load("pocket", size=200)`, `load("rg:chain_sum,size=50")`.

A named set is looked for in a folder of yours first, as NAME.jsonl or NAME/test.jsonl, then on the hub with the library
`datasets` (extra `evals`). Nothing is downloaded where the folder has it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from random import Random

from evals.data.layouts import LAYOUTS, generated, lines
from evals.data.layouts.base import Layout, Reading, SetRow
from evals.data.problems import Problem
from gsi_node.errors import ConfigError, shown
from gsi_node.host.strict_json import parsed
from gsi_node.needs import install_extra
from gsi_node.types import default_id

DATA_DIR = "GSI_DATA_DIR"
IDS = ("unique_id", "problem_id", "id", "idx")
"""Fields that may name a problem, best first; a row without any is named by a hash of its text."""
SPLITS = ("test", "calibration", "heldout")
"""Of every set: all of it, and two disjoint halves. pocket also has its own train and validation."""


Check = Callable[[Problem], None]


def accept(problem: Problem) -> None:
    """The check that refuses nothing."""


def load(
    name: str,
    *,
    data_dir: Path | None = None,
    size: int | None = None,
    seed: int = 0,
    split: str = "test",
    check: Check = accept,
) -> list[Problem]:
    """The problems of a set, in a fixed order.

    name: pocket | math500 | olympiadbench | minerva_math | mmlu_stem | gsm8k | path/to/file.jsonl |
    rg:NAME[,size=…,seed=…]. data_dir: the folder of named sets; default the environment variable GSI_DATA_DIR.
    size: of pocket and rg, how many to make (default 500); of the others, how many to draw without replacement by
    `seed`, kept in the set's order, so that a larger sample contains every smaller one; None takes all. seed: of pocket
    and rg, the generator's. split: "test" is the whole set; "calibration" and "heldout" are disjoint halves by a hash
    of the id (of pocket: its validation and test splits; "train" and "validation" exist there only).

    check: raises ConfigError for a problem of a stored set that cannot be used (graders/gradable.py).
    Raises ConfigError for a name, split, file or row that cannot be used, naming the places looked in.
    """
    if size is not None and size < 1:
        raise ConfigError(f"size must be at least 1, but it is {size}")
    if name == "pocket":
        names = {"calibration": "validation", "heldout": "test"}
        if split not in (*SPLITS, "train", "validation"):
            raise ConfigError(
                f"pocket has no split {split!r}: use one of {', '.join((*SPLITS, 'train', 'validation'))}"
            )
        return generated.pocket(names.get(split, split), seed, size)
    if split not in SPLITS:
        raise ConfigError(f"{name} has no split {split!r}: use one of {', '.join(SPLITS)}")
    if name.startswith("rg:"):
        return [one for one in generated.reasoning_gym(name[3:], seed, size) if _belongs(one.id, split)]
    found = [one for one in _stored(name, data_dir, check) if _belongs(one.id, split)]
    if size is None or size >= len(found):
        return found
    order = list(range(len(found)))
    Random(f"{name} {seed}").shuffle(order)
    return [found[index] for index in sorted(order[:size])]


def _belongs(id: str, split: str) -> bool:
    return split == "test" or (blake2b(id.encode(), digest_size=1).digest()[0] < 128) == (split == "calibration")


def _stored(name: str, data_dir: Path | None, check: Check) -> list[Problem]:
    layout = LAYOUTS.get(name)
    if layout is None:
        path = Path(name)
        if path.suffix != ".jsonl" and not os.path.isfile(path):
            raise ConfigError(f"no set {name!r}: use pocket, {', '.join(LAYOUTS)}, rg:NAME, or a file of JSON lines")
        return _problems(_rows(path), lines.read, str(path), check)
    places = stored_at(name, data_dir)
    for path in places:
        if path.is_file():
            return _problems(_rows(path), layout.read, str(path), check)
    return _problems(_hub_rows(layout, places), layout.read, layout.hub.path, check)


def stored_at(name: str, data_dir: Path | None) -> list[Path]:
    """The files that a named set may be, best first: none where there is no folder of named sets."""
    folder = data_dir if data_dir is not None else Path(os.environ[DATA_DIR]) if os.environ.get(DATA_DIR) else None
    return [] if folder is None else [folder / f"{name}.jsonl", folder / name / "test.jsonl"]


def _problems(
    rows: Iterable[tuple[str, SetRow]], read: Callable[[SetRow], Reading], source: str, check: Check
) -> list[Problem]:
    """Problems of rows, each with the place it stands at; equal ids are told apart by #2, #3 …"""
    found: list[Problem] = []
    seen: Counter[str] = Counter()
    for place, row in rows:
        try:
            text, answer, kind, meta = read(row)
            problem = Problem(_unused(_id(row, text), seen), text, answer, kind, meta)
            check(problem)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error
        found.append(problem)
    if not found:
        raise ConfigError(f"{source}: the set is empty")
    return found


def _id(row: SetRow, text: str) -> str:
    field = next((field for field in IDS if row.get(field) is not None), None)
    if field is None:
        return default_id(text)
    given = row[field]
    if isinstance(given, bool) or not isinstance(given, str | int | float) or not str(given).strip():
        raise ConfigError(f"{field} must be a text or a number, but it is {shown(given)}")
    return str(given)


def _unused(id: str, seen: Counter[str]) -> str:
    """The id, or with #2, #3 … where it was given before."""
    free = id
    while seen[free]:
        seen[id] += 1
        free = f"{id}#{seen[id]}"
    seen[free] += 1
    return free


def _rows(path: Path) -> Iterator[tuple[str, SetRow]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path}, line {number}"
                    yield place, _object(line, place)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: it is not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def _object(line: str, place: str) -> SetRow:
    row = parsed(line, place)
    if not isinstance(row, dict):
        raise ConfigError(f"{place}: a line must be a JSON object, but it is {type(row).__name__}")
    return row


def _hub_rows(layout: Layout, places: Sequence[Path]) -> Iterator[tuple[str, SetRow]]:
    """The rows of a set on the hub, with the library `datasets`, which is imported here alone."""
    here = " and ".join(map(str, places)) or f"no folder (neither --data-dir nor {DATA_DIR} is set)"
    looked = f"{layout.name} was not found: looked in {here}, then for {layout.hub.path} on the hub"
    try:
        library = import_module("datasets")
    except ImportError as error:
        raise ConfigError(f"{looked}, which needs the library datasets: {install_extra('evals')}") from error
    try:
        table = library.load_dataset(layout.hub.path, layout.hub.config, split=layout.hub.split)
    except Exception as error:
        raise ConfigError(f"{looked}: {type(error).__name__}: {error}") from error
    for index, row in enumerate(table):
        yield f"{layout.hub.path}, row {index}", row
