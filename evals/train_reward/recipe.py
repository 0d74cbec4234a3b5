"""All that determines a reward, kept beside what is made on the way to it: a folder goes on under the same alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.rows.shapes import STRICT, Count, Whole, first_fault
from evals.run.config import FieldValue, Provenance
from evals.run.folder import make
from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.host.files import write
from gsi_node.identity import differing
from gsi_node.specs.grammar import parse_spec

TRAINING = "training"
"""The folder in --out of all that is made on the way; the reward itself lies beside it."""
RECIPE = "recipe.json"
_LAST_NAME = re.compile(r"[^/#:]+(?=/*$)")
MADE = "made"


class Recipe(BaseModel):
    """model: the spec whose first layers are kept. solvers: specs, the draft first, the base last. data: specs of the
    problems; limit: of each; problems_digest: of all that decides how they are solved and graded. samples: of each
    problem by each solver. ratios: whether base and draft are compared on the calibrate split. rollouts: from each step
    of the fit split, 0 for none. pairs: whether steps are compared instead. layers: how many of the model's may be
    kept. seed: of the splits. fields: of GSIConfig. made: by what and where it was begun.
    """

    model_config = STRICT | ConfigDict(frozen=True)

    model: str
    solvers: list[str]
    data: list[str]
    limit: Count | None
    data_seed: Whole
    problems_digest: str
    samples: Count
    ratios: bool
    rollouts: Count
    pairs: bool
    layers: list[Count]
    seed: Whole
    fields: dict[str, FieldValue]
    made: Provenance

    @property
    def by_name(self) -> dict[str, str]:
        """The solvers by what they are called: the last name in each spec, or all of it where two are called the
        same."""
        found = [_LAST_NAME.search(parse_spec(spec)[0].target) for spec in self.solvers]
        called = [one[0] if one else spec for one, spec in zip(found, self.solvers, strict=True)]
        return dict(zip(called if len(set(called)) == len(called) else self.solvers, self.solvers, strict=True))


def kept(recipe: Recipe, out: Path) -> Recipe:
    """The recipe of the folder --out, which is this one from now on where there was none. Raises ConfigError for a
    folder of something else, ResumeMismatch where another reward was begun there, StorageError."""
    folder = out / TRAINING
    file = folder / RECIPE
    if not file.exists():
        _refuse_others(out)
        make(folder)
        body = json.dumps({"schema": SCHEMA, **recipe.model_dump()}, indent=1)
        write(file, sealed(body.encode(), lines=True))
        return recipe
    there = _read(file)
    if found := differing(there.model_dump(exclude={MADE}), recipe.model_dump(exclude={MADE})):
        raise ResumeMismatch(
            f"{out} was begun with another recipe ({'; '.join(map(str, found))}): give the same, or name another --out"
        )
    return there


def _refuse_others(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; name a folder")
    others = sorted(path.name for path in out.iterdir() if path.name != TRAINING) if out.exists() else []
    if others:
        raise ConfigError(
            f"--out {out}: holds {', '.join(others[:4])}{' …' if len(others) > 4 else ''} but no {TRAINING}/{RECIPE}: "
            "a reward would be written over them; name a new or an empty folder"
        )


def _read(file: Path) -> Recipe:
    found, _ = unsealed(file.read_bytes(), str(file))
    del found["schema"]
    try:
        return Recipe.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{file}: not a recipe: {first_fault(error)}; name another --out") from error
