"""What a run is: the problems, the methods, n and seeds, the models and settings; the rows they ask for, in order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from evals.data.problems import Problem
from evals.rows.row import RowKey, Standing
from evals.run.config import GRADING_SECONDS, OWN, UNTOLD, VOTE_SECONDS, FieldValue, RunConfig
from gsi_node.errors import ConfigError
from gsi_node.identity import SAMPLING_LAW
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import validated
from gsi_node.step.methods import METHODS

MAJORITY = {"majority-draft": "draft", "majority-base": "base"}
"""Methods that vote on whole responses, and the method that writes each of them."""


class Task(NamedTuple):
    """One row to be made. place: of the problem in the plan."""

    place: int
    method: str
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a row is made: concurrency rows at a time in this process, one of `workers`, called `worker`; row_seconds:
    after which solving one is given up. commit: of the tree that makes it. memo: whether rows of a problem and seed
    take over what models answered in each other."""

    concurrency: int = 1
    workers: int = 1
    worker: str = "main"
    row_seconds: float | None = None
    commit: str | None = None
    memo: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that determines the rows of a run. It crosses processes.

    data: as named; limit, split, data_seed, data_dir: as given to `load`. fields: of GSIConfig, but for OWN. specs: by
    role. share_samples: all methods and n draw from one set of streams. grading_seconds, vote_seconds: processor
    seconds of a grade, and of all that grades a majority's responses and counts its votes; a row beyond is ungraded.
    """

    data: str
    problems: tuple[Problem, ...]
    methods: tuple[str, ...]
    ns: tuple[int, ...]
    seeds: tuple[int, ...]
    specs: Mapping[str, str]
    fields: Mapping[str, FieldValue]
    record: str
    limit: int | None = None
    split: str = "test"
    data_seed: int = 0
    share_samples: bool = False
    grading_seconds: float = GRADING_SECONDS
    vote_seconds: float = VOTE_SECONDS
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError where a method, n, seed or setting is wrong, or the problems' ids are not unique."""
        for what, values in (("--methods", self.methods), ("--n", self.ns), ("--seeds", self.seeds)):
            if not values:
                raise ConfigError(f"{what}: want at least one, got none")
            if len(set(values)) < len(values):
                raise ConfigError(f"{what}: names one twice: {', '.join(map(str, values))}")
        for what, seconds in (("--grading-seconds", self.grading_seconds), ("--vote-seconds", self.vote_seconds)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ConfigError(f"{what}: want a finite number > 0, got {seconds:g}")
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

    def identity(self, fingerprints: Mapping[str, str] | None = None) -> RunConfig:
        """What config.json holds. fingerprints: of the models, by role, where they are loaded."""
        fields = self.config(self.methods[0], self.ns[0], self.seeds[0]).model_dump()
        return RunConfig(
            data=self.data,
            limit=self.limit,
            split=self.split,
            data_seed=self.data_seed,
            problems=len(self.problems),
            problems_digest=digest(self.problems),
            methods=list(self.methods),
            n=list(self.ns),
            seeds=list(self.seeds),
            record=self.record,
            share_samples=self.share_samples,
            grading_seconds=self.grading_seconds,
            vote_seconds=self.vote_seconds,
            specs={role: self.specs[role] for role in self.roles},
            config={name: value for name, value in fields.items() if name not in UNTOLD},
            fingerprints=dict(fingerprints or {}),
            sampling_law=SAMPLING_LAW,
        )


def other_fields(sets: Iterable[tuple[str, FieldValue]]) -> dict[str, FieldValue]:
    """The fields of --set. Raises ConfigError for one that an option of its own gives."""
    fields = dict(sets)
    for name in OWN:
        if name in fields:
            raise ConfigError(f"--set {name}: use --{ {'method': 'methods', 'seed': 'seeds'}.get(name, name) }")
    return fields


def digest(problems: Sequence[Problem]) -> str:
    """Of all that decides how problems are solved and graded, in their order."""
    told = repr([(p.id, p.problem, p.answer, p.kind, _canonical(p.meta)) for p in problems])
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def remaining(tasks: Sequence[Task], plan: Plan, done: Mapping[RowKey, Standing], retry_errors: bool) -> list[Task]:
    """The tasks without a row, or with one that is ungraded. done: the rows' standing by key (evals/rows/row.py); those
    that are errors are made again if `retry_errors`."""
    again = ("ungraded", "error") if retry_errors else ("ungraded",)
    keys = ((task, plan.key(task)) for task in tasks)
    return [task for task, key in keys if done.get(key, "ungraded") in again]


def _canonical(meta: Mapping[str, object]) -> str:
    """One text for equal metas, whatever the order of their keys: tolerances and the like decide grades, too."""
    return json.dumps(meta, sort_keys=True, default=repr)
