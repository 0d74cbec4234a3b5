"""What a run is: the problems, the methods, n and seeds, the models and settings; the rows they ask for, in order.

config.json beside the rows holds all that determines them. A run goes on where it is the same, else it is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from evals.problems import Problem
from evals.rows import RESULTS, SCHEMA, RowKey
from gsi_node.cli.settings import validated
from gsi_node.config import GSIConfig
from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.methods import METHODS

MAJORITY = {"majority-draft": "draft", "majority-base": "base"}
"""Methods that vote on whole responses, and the method that writes each of them."""
CONFIG = "config.json"
OWN = ("method", "n", "seed", "record")  # fields of GSIConfig that a run gives a list of, or its own option
Plain = dict[str, Any]


class Task(NamedTuple):
    """One row to be made. place: of the problem in the plan."""

    place: int
    method: str
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a row is made: concurrency rows at a time in this process, one of `workers`, called `worker`."""

    concurrency: int = 1
    workers: int = 1
    worker: str = "main"
    grading_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """All that determines the rows of a run. It crosses processes.

    data: as named; size, split, data_seed: as given to `load`. fields: of GSIConfig, but for OWN. share_samples: all
    methods and n draw from one set of streams. specs: by role.
    """

    data: str
    problems: tuple[Problem, ...]
    methods: tuple[str, ...]
    ns: tuple[int, ...]
    seeds: tuple[int, ...]
    specs: Mapping[str, str]
    fields: Mapping[str, Any]
    record: str
    limit: int | None = None
    split: str = "test"
    data_seed: int = 0
    share_samples: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError where a method, n, seed or setting is wrong, or the problems' ids are not unique."""
        for what, values in (("--methods", self.methods), ("--n", self.ns), ("--seeds", self.seeds)):
            if not values:
                raise ConfigError(f"{what}: want at least one, got none")
            if len(set(values)) < len(values):
                raise ConfigError(f"{what}: names one twice: {', '.join(map(str, values))}")
        known = (*METHODS, *MAJORITY)
        for method in self.methods:
            if method not in known:
                raise ConfigError(f"--methods: no method {method!r}; the methods are {', '.join(known)}")
            for n in self.ns:
                for seed in self.seeds:
                    self.config(method, n, seed)
        if not self.problems:
            raise ConfigError(f"--data {self.data}: holds no problem")
        if len({problem.id for problem in self.problems}) < len(self.problems):
            raise ConfigError(f"--data {self.data}: two problems have one id; make the ids unique")

    def config(self, method: str, n: int, seed: int) -> GSIConfig:
        """The settings of a method; of a majority method those of the method that writes its responses."""
        own = {"method": MAJORITY.get(method, method), "n": n, "seed": seed, "record": self.record}
        return validated({**self.fields, **own})

    def recording(self, record: str) -> Plan:
        """The same plan, keeping "candidates" or a "summary" of each step."""
        return replace(self, record=record)

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that the methods ask, of draft, base, reward."""
        asked = {role for method in self.methods for role in METHODS[MAJORITY.get(method, method)].models}
        return tuple(role for role in ("draft", "base", "reward") if role in asked)

    def ns_of(self, method: str) -> tuple[int, ...]:
        """The n of a method's rows: 1 alone for a method that draws one candidate whatever n says."""
        rule = METHODS.get(method)
        single = rule is not None and rule.single and (rule.fallback is None or rule.fallback.single)
        return (1,) if single else self.ns

    def tasks(self) -> Iterator[Task]:
        """Seed by seed, problem by problem, and there every method and n: what is done early can be compared."""
        for seed in self.seeds:
            for place in range(len(self.problems)):
                for method in self.methods:
                    for n in self.ns_of(method):
                        yield Task(place, method, n, seed)

    def key(self, task: Task) -> RowKey:
        """The key of a task's row."""
        return self.problems[task.place].id, task.method, task.n, task.seed

    def stream_id(self, task: Task) -> str:
        """The problem_id that names a row's random streams: its own, unless samples are shared."""
        name = self.problems[task.place].id
        return name if self.share_samples else f"{name}|{task.method}|{task.n}"

    def identity(self, fingerprints: Mapping[str, str] | None = None) -> Plain:
        """What config.json holds. fingerprints: of the models, by role, where they are loaded."""
        told = repr([(p.id, p.problem, p.answer, p.kind, _canonical(p.meta)) for p in self.problems])
        fields = self.config(self.methods[0], self.ns[0], self.seeds[0]).model_dump()
        return {
            "schema": SCHEMA,
            "data": self.data,
            "limit": self.limit,
            "split": self.split,
            "data_seed": self.data_seed,
            "problems": len(self.problems),
            "problems_digest": blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(),
            "methods": list(self.methods),
            "n": list(self.ns),
            "seeds": list(self.seeds),
            "record": self.record,
            "share_samples": self.share_samples,
            "specs": {role: self.specs[role] for role in self.roles},
            "config": {name: value for name, value in fields.items() if name not in OWN},
            **({} if fingerprints is None else {"fingerprints": dict(fingerprints)}),
        }


def check_folder(folder: Path, identity: Plain) -> None:
    """Refuse a folder of something else, or of another run, before any model is loaded. Raises ConfigError."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; name a folder")
    if not folder.exists():
        return
    if not (folder / CONFIG).exists():
        others = sorted(path.name for path in folder.iterdir() if path.is_dir() or path.stat().st_size)
        if others:
            raise ConfigError(
                f"--out {folder}: holds {', '.join(others[:4])}{' …' if len(others) > 4 else ''} but no {CONFIG}, so "
                "it is no run folder; name a new or an empty one"
            )
        return
    compare(folder, identity)


def compare(folder: Path, identity: Plain) -> None:
    """Refuse to go on with a run whose configuration was another one. Raises ResumeMismatch naming the keys."""
    file = folder / CONFIG
    try:
        kept = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}; name another --out") from error
    there, here = _flat(kept), _flat(json.loads(json.dumps(identity)))
    differing = [
        f"{key}: {_short(there.get(key))} there, {_short(value)} here"
        for key, value in here.items()
        if there.get(key, _ABSENT) != value
    ]
    if differing:
        raise ResumeMismatch(
            f"{folder} was begun with another configuration ({'; '.join(differing)}): give the same again, or name "
            "another --out"
        )


def keep(folder: Path, identity: Plain) -> None:
    """Write config.json, once and whole; where another process was first, compare. Raises ConfigError."""
    mine = folder / f".{CONFIG}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mine.write_text(json.dumps(identity, indent=1) + "\n", "utf-8")
        try:
            os.link(mine, folder / CONFIG)
        except FileExistsError:
            compare(folder, identity)
        finally:
            mine.unlink()
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from error


def results_file(folder: Path, shard: tuple[int, int] | None) -> Path:
    """Where a process writes: shards have files of their own, since appending over a network is not atomic."""
    return folder / (RESULTS if shard is None else f"results.shard-{shard[0]}-of-{shard[1]}.jsonl")


def remaining(tasks: Sequence[Task], plan: Plan, done: Mapping[RowKey, bool], retry_errors: bool) -> list[Task]:
    """The tasks without a row. done: by key, whether the row is an error; those are done again if `retry_errors`."""
    keys = ((task, plan.key(task)) for task in tasks)
    return [task for task, key in keys if key not in done or (retry_errors and done[key])]


_ABSENT = object()


def _flat(record: Plain, above: str = "") -> Plain:
    flat: Plain = {}
    for key, value in record.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _canonical(meta: Mapping[str, Any]) -> str:
    """One text for equal metas, whatever the order of their keys: tolerances and the like decide grades, too."""
    return json.dumps(meta, sort_keys=True, default=repr)


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else told[:57] + "…"
