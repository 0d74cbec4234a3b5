"""Sets that are made, not read: pocket math, and the generators of the package reasoning-gym."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping
from typing import Protocol, get_args

from evals.data.problems import Problem
from gsi_node.errors import ConfigError
from gsi_node.needs import install_extra
from gsi_node.pocket.world import problems as world

SIZE = 500
"""Problems of a generated set where no size is given."""


class Generated(Protocol):
    """A data set of reasoning-gym."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Mapping[str, object]: ...
    def score_answer(self, answer: str, entry: Mapping[str, object]) -> float: ...


def pocket(split: str, seed: int, size: int | None) -> list[Problem]:
    """`size` problems of pocket math; the first k are the same for every size."""
    where: world.Split = "test"
    for known in get_args(world.Split):
        if known == split:
            where = known
    return [
        Problem(f"{where}-{seed}-{index}", made.problem, made.answer, "exact", {"family": made.family})
        for index, made in enumerate(world.problems(where, seed, SIZE if size is None else size))
    ]


def reasoning_gym(spec: str, seed: int, size: int | None) -> list[Problem]:
    """The set of a spec NAME[,key=value…]: `size`, `seed` and any setting of that generator.

    A problem's meta holds the generator, its settings and the problem's index: the grader makes the same entry again
    and asks the generator's own scorer. Raises ConfigError for what reasoning-gym refuses.
    """
    name, *pairs = spec.split(",")
    config: dict[str, object] = {"size": SIZE if size is None else size, "seed": seed}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"rg:{spec}: after the name come settings as key=value, but {pair!r} is none")
        config[key.strip()] = _value(value.strip())
    dataset = create(name.strip(), config)
    count = len(dataset) if size is None else min(size, len(dataset))
    found = []
    for index in range(count):
        entry = dataset[index]
        meta = {"generator": name.strip(), "config": config, "index": index}
        found.append(Problem(f"{config['seed']}-{index}", str(entry["question"]), str(entry["answer"]), "rg", meta))
    return found


def create(name: str, config: dict[str, object]) -> Generated:
    """The reasoning-gym data set `name` under `config`."""
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ConfigError(f"rg:{name} needs the package reasoning-gym: {install_extra('rg')}") from error
    if name not in DATASETS:
        raise ConfigError(f"reasoning-gym has no generator {name!r}; it has {', '.join(sorted(DATASETS))}")
    try:
        made: Generated = reasoning_gym.create_dataset(name, **config)
        return made
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"reasoning-gym refuses {name} with {config}: {error}") from error


def _value(text: str) -> object:
    try:
        return literal_eval(text)
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        return text
