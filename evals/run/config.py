"""config.json beside the rows: all that determines them, and by what and where they were made. Its type, its reader,
and what two of them may differ in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.rows.shapes import STRICT, Number, Whole, first_fault
from gsi_node.errors import ConfigError
from gsi_node.identity import Mismatch, differing
from gsi_node.step.config import GSIConfig

CONFIG = "config.json"
GRADING_SECONDS, VOTE_SECONDS = 5.0, 60.0
OWN = ("method", "n", "seed", "record")  # fields of GSIConfig that a run gives a list of, or its own option
UNTOLD = (
    *OWN,
    "earlier_messages",
    "lookahead",
    "judge_early",
)  # which decide no row, but when
LISTS = {"methods", "n", "seeds"}
PROBLEMS = {"limit", "problems", "problems_digest"}
MADE = "made"
FieldValue = bool | Whole | Number | str | list[str] | None


class Provenance(BaseModel):
    """By what and where rows are made. version: of gsi_node. commit: of the tree that evals is in, with "-dirty" where
    files of it were changed; None where git knows of none. machine: system, processor, cores, GPUs; with Ray, those of
    the driver. date: when the first row was about to be made, UTC."""

    model_config = STRICT | ConfigDict(frozen=True)

    version: str
    commit: str | None
    machine: str
    date: str

    def alike(self, other: Provenance) -> bool:
        """Whether only the dates differ."""
        return self.model_copy(update={"date": other.date}) == other


class RunConfig(BaseModel):
    """What config.json holds. problems: how many; problems_digest: of their ids, texts, answers, kinds and metas.

    config: the fields of GSIConfig but for UNTOLD; one that an old file lacks counts as its default. fingerprints: of
    the models, by role; none before they are loaded. sampling_law: its version, 1 of a file that has none. made: one
    entry for each version, commit or machine that made rows; none in a file of before 2026-11-30.
    """

    model_config = STRICT | ConfigDict(frozen=True)

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
    grading_seconds: Number = GRADING_SECONDS
    vote_seconds: Number = VOTE_SECONDS
    specs: dict[str, str]
    config: dict[str, FieldValue]
    fingerprints: dict[str, str] = {}
    sampling_law: Whole = 1
    made: list[Provenance] = []

    def to_json(self) -> bytes:
        """The file, with its checksum."""
        return sealed(json.dumps(self.told(), indent=1).encode(), lines=True)

    def told(self) -> dict[str, object]:
        """The object in the file."""
        return {"schema": SCHEMA, **self.model_dump()}

    def settings(self) -> dict[str, object]:
        """What determines rows."""
        return self.model_dump(exclude={MADE})

    def differing(self, here: RunConfig) -> list[Mismatch]:
        """What determines a row and is not the same here; of models, those that both have."""
        return differing(_fixed(self, here), _fixed(here, self))

    def joined(self, here: RunConfig, wider: RunConfig) -> RunConfig:
        """That of a folder with the rows of both. wider: the one whose problems hold the other's."""
        lists = {name: [*dict.fromkeys([*getattr(self, name), *getattr(here, name)])] for name in LISTS}
        problems = {name: getattr(wider, name) for name in PROBLEMS}
        prints = self.fingerprints | here.fingerprints
        together = {**lists, **problems, "specs": self.specs | here.specs, "fingerprints": prints}
        return self.model_copy(update=together).also_made(here.made)

    def also_made(self, made: Iterable[Provenance]) -> RunConfig:
        """The same, with what it does not say yet of where its rows were made."""
        known = list(self.made)
        for one in made:
            if not any(one.alike(other) for other in known):
                known.append(one)
        return self.model_copy(update={MADE: known})


def _fixed(one: RunConfig, other: RunConfig) -> Mapping[str, object]:
    roles = {
        name: {role: value for role, value in getattr(one, name).items() if role in getattr(other, name)}
        for name in ("specs", "fingerprints")
    }
    return one.model_dump(exclude=LISTS | PROBLEMS | {MADE}) | roles


def read_config(folder: Path) -> RunConfig:
    """That of a run's folder. Raises ConfigError where it is missing, damaged, or none that a run wrote."""
    file = folder / CONFIG
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: no {CONFIG} in it, so it is no run folder; name one of `evals run`") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from error
    found, _ = unsealed(data, str(file))
    del found["schema"]
    try:
        kept = RunConfig.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{file}: not of a run: {first_fault(error)}") from error
    fields = GSIConfig().model_dump() | kept.config
    return kept.model_copy(update={"config": {name: value for name, value in fields.items() if name not in UNTOLD}})
