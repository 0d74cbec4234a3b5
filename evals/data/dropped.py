"""Problems that an evaluation leaves out, since a reward was trained on one like them: `evals train-reward` writes such
a file, `evals run --without FILE` reads it.

  {"schema": 2, "sets": {"gsm8k": {"kept": ["0", …], "dropped": {"17": {"overlap": 0.61, "like": "0-204"}}}}, …}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.data.problems import Problem
from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.rows.shapes import STRICT, Number, first_fault
from gsi_node.errors import ConfigError
from gsi_node.host.files import write


class Likeness(BaseModel):
    """overlap: with the training problem whose id is `like` (evals/train_reward/overlap.py)."""

    model_config = STRICT | ConfigDict(frozen=True)

    overlap: Number
    like: str


class ComparedSet(BaseModel):
    """A set whose problems were all compared with those of a training. kept: ids; dropped: by id."""

    model_config = STRICT | ConfigDict(frozen=True)

    kept: list[str]
    dropped: dict[str, Likeness]


class _DroppedFile(BaseModel):
    model_config = STRICT | ConfigDict(frozen=True)

    sets: dict[str, ComparedSet]


def save(sets: Mapping[str, ComparedSet], file: Path) -> None:
    """Write it, sets by the name that --data has for them. Raises StorageError."""
    told = {"schema": SCHEMA, "sets": {name: one.model_dump() for name, one in sets.items()}}
    write(file, sealed(json.dumps(told, indent=1).encode(), lines=True))


def without(problems: Sequence[Problem], data: str, file: Path) -> list[Problem]:
    """Those of the set `data` that the file keeps. Raises ConfigError where it does not know set or problem."""
    found = _read(file).get(data)
    if found is None:
        raise ConfigError(f"--without {file}: knows nothing of {data}; give it to `evals train-reward` by --against")
    kept = set(found.kept)
    unknown = next((one.id for one in problems if one.id not in kept and one.id not in found.dropped), None)
    if unknown is not None:
        raise ConfigError(f"--without {file}: problem {unknown!r} of {data} was not compared; compare this very set")
    return [one for one in problems if one.id in kept]


def _read(file: Path) -> dict[str, ComparedSet]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"--without {file}: cannot be read ({error.strerror or error})") from error
    found, _ = unsealed(data, f"--without {file}")
    del found["schema"]
    try:
        return _DroppedFile.model_validate(found).sets
    except ValidationError as error:
        raise ConfigError(f"--without {file}: not of a training: {first_fault(error)}") from error
