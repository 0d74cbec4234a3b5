"""A run's folder: config.json beside the rows holds all that determines them. A run goes on where it is the same, else
it is refused.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from evals.rows.lines import RESULTS, results_in
from evals.rows.sealed import sealed, unsealed
from evals.rows.shapes import STRICT, Number, Whole, first_fault
from evals.run.durable import is_draft, write_new
from evals.run.plan import GRADING_SECONDS, OWN, VOTE_SECONDS
from gsi_node.errors import ConfigError, ResumeMismatch, StorageError
from gsi_node.host.files import sync_folder
from gsi_node.identity import differing_parts, same_fingerprint
from gsi_node.step.config import GSIConfig
from gsi_node.types import Plain

CONFIG = "config.json"
NEWER = {"grading_seconds": GRADING_SECONDS, "vote_seconds": VOTE_SECONDS}
"""Fields that config.json has had since schema 2, and what a run before had."""


Scalar = bool | Whole | Number | str | None


@with_config(STRICT)
class ConfigFile(TypedDict):
    """What config.json holds (evals/run/plan.py, identity); a field of GSIConfig that an old file lacks counts as its
    default."""

    schema: Whole
    data: str
    limit: Whole | None
    split: str
    data_seed: Whole
    problems: Whole
    problems_digest: str
    methods: list[str]
    n: list[Whole]
    seeds: list[Whole]
    record: str
    share_samples: bool
    specs: dict[str, str]
    config: dict[str, Scalar]
    fingerprints: dict[str, str]
    grading_seconds: NotRequired[Number]
    vote_seconds: NotRequired[Number]


_FILE = TypeAdapter(ConfigFile)


def read_config(folder: Path) -> Plain:
    """config.json of a run's folder. Raises ConfigError where it is missing, damaged, or none that a run wrote."""
    file = folder / CONFIG
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: no {CONFIG} in it, so it is no run folder; name one of `evals run`") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from error
    found, _ = unsealed(data, str(file))
    try:
        _FILE.validate_python(found)
    except ValidationError as error:
        raise ConfigError(f"{file}: not of a run: {first_fault(error)}") from error
    defaults = {name: value for name, value in GSIConfig().model_dump().items() if name not in OWN}
    return NEWER | found | {"config": defaults | found["config"]}


def check_folder(folder: Path, identity: Plain, *, repair: bool = False) -> None:
    """Refuse a folder of something else, or of another run, before any model is loaded. Raises ConfigError.

    repair: take away a config.json that cannot be read where no row stands beside it.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; name a folder")
    if not folder.exists():
        return
    if not (folder / CONFIG).exists():
        others = sorted(
            path.name
            for path in folder.iterdir()
            if not is_draft(path, CONFIG) and (path.is_dir() or path.stat().st_size)
        )
        if others:
            raise ConfigError(
                f"--out {folder}: holds {', '.join(others[:4])}{' …' if len(others) > 4 else ''} but no {CONFIG}, so "
                "it is no run folder; name a new or an empty one"
            )
        return
    compare(folder, identity, repair=repair)


def compare(folder: Path, identity: Plain, *, repair: bool = False) -> None:
    """Refuse to go on with a run whose configuration was another one. Raises ResumeMismatch naming the keys."""
    file = folder / CONFIG
    try:
        kept = read_config(folder)
    except ConfigError as error:
        empty = not any(path.stat().st_size for path in results_in(folder))
        if repair and empty:
            file.unlink(missing_ok=True)
            return
        mend = "no row stands beside it: --repair makes it again" if empty else "name another --out"
        raise ConfigError(f"{error}; {mend}") from error
    there, here = flat(kept), flat(json.loads(json.dumps(identity)))
    differing = [
        f"{key}: {_short(there.get(key))} there, {_short(value)} here{differing_parts(there.get(key), value)}"
        for key, value in here.items()
        if key != "schema" and not same_fingerprint(there.get(key, _ABSENT), value)
    ]
    if differing:
        raise ResumeMismatch(
            f"{folder} was begun with another configuration ({'; '.join(differing)}): give the same again, or name "
            "another --out"
        )


def keep(folder: Path, identity: Plain) -> None:
    """Write config.json, once, whole and synchronised; where another process was first, compare.

    Raises ConfigError, or StorageError where the disk does not take it.
    """
    try:
        make(folder)
        if not write_new(folder / CONFIG, sealed(json.dumps(identity, indent=1).encode(), lines=True)):
            compare(folder, identity)
        for left in folder.glob(f".{CONFIG}.*"):  # of processes that were killed while they wrote it
            with suppress(OSError):
                left.unlink(missing_ok=True)
    except StorageError as error:
        raise StorageError(f"--out {error}; make room, and give the same command again") from error


def make(folder: Path) -> None:
    """The folder and those above it, so that they outlive a loss of power. Raises ConfigError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror}); choose another folder") from error


def results_file(folder: Path, shard: tuple[int, int] | None) -> Path:
    """Where a process writes: shards have files of their own, since appending over a network is not atomic."""
    return folder / (RESULTS if shard is None else f"results.shard-{shard[0]}-of-{shard[1]}.jsonl")


_ABSENT = object()


def flat(record: Plain, above: str = "") -> Plain:
    """A record of records as one, with dotted keys."""
    found: Plain = {}
    for key, value in record.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else told[:57] + "…"
