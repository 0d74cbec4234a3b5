"""python -m evals merge runs/A runs/B --out runs/M: one folder with the rows of several runs of one configuration.

The folders may differ in methods, n, seeds and problems, as a folder may that has grown, and in nothing else. A row
that two of them have must be the same in both, byte for byte. M is there whole or not at all; A, B … stay as they are.
Then `evals report` reads M, and `evals run --out runs/M` goes on in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from evals.rows.lines import RESULTS, supersedes, whole_lines
from evals.rows.row import RowKey, Standing
from evals.run.config import CONFIG, RunConfig, read_config
from evals.run.design import read_design
from evals.run.folder import make
from evals.run.growth import found_again, joined
from gsi_node.errors import ConfigError, GSIError, ResumeMismatch, StorageError
from gsi_node.host.files import sync_folder, write
from gsi_node.host.options import named_path
from gsi_node.host.shell import complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `merge`."""
    parser.add_argument("folders", type=named_path, nargs="+", metavar="FOLDER", help="run folders, two or more")
    parser.add_argument("--out", type=named_path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("--data-dir", type=named_path, help="folder of the named sets, as in `evals run`")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the folders do not fit together; 1 where the disk does not take what they hold."""
    try:
        count = merge(options.folders, options.out, options.data_dir)
    except GSIError as error:
        complain(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    sys.stderr.write(f"{count} rows of {len(options.folders)} folders: python -m evals report {options.out}\n")
    return 0


def merge(folders: list[Path], out: Path, data_dir: Path | None = None) -> int:
    """Write `out` from run folders; returns how many rows it has.

    Raises ConfigError where a folder is none, is named twice, or is of another configuration, where a row differs
    between two, or `out` holds something; StorageError.
    """
    if len(folders) < 2:
        raise ConfigError("merge wants two run folders or more; one alone is merged already")
    for i, folder in enumerate(folders):
        if folder.resolve() in {other.resolve() for other in folders[:i]}:
            raise ConfigError(f"{folder}: named twice; name each folder once")
    if (designed := next((folder for folder in folders if read_design(folder) is not None), None)) is not None:
        raise ConfigError(f"{designed}: its problems were drawn by a design, whose weights a merged folder would lose")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is there already; name a new folder")
    cut_off: list[str] = []
    config, lines = _config(folders, data_dir), _lines(folders, cut_off)
    _write(out, config, lines.values())
    for told in cut_off:
        sys.stderr.write(f"{told}\n")
    return len(lines)


def _config(folders: Sequence[Path], data_dir: Path | None) -> RunConfig:
    """The configuration of a folder with the rows of all."""
    first = folders[0]
    together = own = read_config(first)
    widest = partial(found_again, first, own, data_dir)
    for folder in folders[1:]:
        own = read_config(folder)
        find = partial(found_again, folder, own, data_dir)
        try:
            together = joined(together, own, widest, find)
        except ResumeMismatch as error:
            raise ResumeMismatch(f"{folder} is of another configuration than {first} ({error})") from error
        if together.problems_digest == own.problems_digest:
            widest = find
    return together


def _lines(folders: Sequence[Path], cut_off: list[str]) -> dict[RowKey, bytes]:
    """The lines that count in each folder, one a row."""
    together: dict[RowKey, tuple[Path, bytes]] = {}
    for folder in folders:
        for key, line in _own_lines(folder, cut_off).items():
            other, before = together.setdefault(key, (folder, line))
            if before != line:
                name, method, n, seed = key
                raise ConfigError(
                    f"{folder} and {other} have different rows of problem {name}, {method}, n = {n}, seed {seed}: "
                    "leave one of them out"
                )
    return {key: line for key, (_, line) in together.items()}


def _own_lines(folder: Path, cut_off: list[str]) -> dict[RowKey, bytes]:
    found: dict[RowKey, tuple[Standing, bytes]] = {}
    for row, _, line in whole_lines(folder, cut_off):
        before = found.get(row.key)
        if before is None or supersedes(row.standing, before[0]):
            found[row.key] = row.standing, line
    return {key: line for key, (_, line) in found.items()}


def _write(out: Path, config: RunConfig, lines: Iterable[bytes]) -> None:
    """The folder, under its name once all of it is on the disk. What a killed merge left is written over."""
    draft = out.with_name(f".{out.name}.merging")
    make(out.parent)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        with (draft / RESULTS).open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        write(draft / CONFIG, config.to_json())
        os.rename(draft, out)
        sync_folder(out.parent)
    except OSError as error:  # StorageError is one
        shutil.rmtree(draft, ignore_errors=True)
        told = error.strerror or error
        raise StorageError(f"--out {out}: cannot be written ({told}); make room, or choose another folder") from error
