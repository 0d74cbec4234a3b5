"""The solver over table models, for tests: no weights, and every number known. Also a command line of its own.

`python -m tests.graphs.tables SECONDS ARGUMENTS…` is `gsi solve` with table models that take SECONDS a call.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

from gsi_node import GSIConfig, MathSolver
from gsi_node.cli.arguments import Arguments, add_arguments, read
from gsi_node.cli.run import run
from gsi_node.cli.start import start
from gsi_node.errors import BackendError, SpecError
from gsi_node.host.shell import Parser, ending
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step

SETTINGS = GSIConfig(n=3, beta=4.0, threshold=0.6)
STEPS = 4


def table(good: float) -> Any:
    """STEPS steps, good, bad or ugly, each naming its place, then the answer 7, 8, or none."""

    def law(prefix: Prefix) -> dict[str, float]:
        place = len(prefix.steps) + 1
        if place > STEPS:
            return {r"So \boxed{7}.": good, r"So \boxed{8}.": 0.8 * (1 - good), "So I give up.": 0.2 * (1 - good)}
        bad = 1 - good
        return {f"good {place} [b]\n\n": good, f"bad {place}\n\n": 0.6 * bad, f"ugly {place}\n\n": 0.4 * bad}

    return law


def reward_of(prefix: Prefix, step: Step) -> float:
    """0.9 for good steps and the answer 7, 0.3 for bad ones and 8, else 0.1."""
    return 0.9 if "good" in step.text or "7" in step.text else 0.3 if "bad" in step.text or "8" in step.text else 0.1


class Table(TableModel):
    """A table model that takes its time, counts its calls, and can be made to fail at one of them."""

    def __init__(self, good: float, name: str, seconds: float = 0.0) -> None:
        super().__init__(table(good), name=name)
        self.seconds = seconds
        self.asked: list[Key] = []
        self.fail_at: tuple[str, int] | None = None  # problem_id, step

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.asked.append(key)
        time.sleep(self.seconds)
        if self.fail_at == (key.problem_id, key.step):
            raise BackendError(f"model {self.name} broke at step {key.step}")
        return super().sample(prefix, n, key, law)

    async def asample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        await asyncio.sleep(self.seconds)
        seconds, self.seconds = self.seconds, 0.0
        try:
            return self.sample(prefix, n, key, law)
        finally:
            self.seconds = seconds

    async def ascore(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return self.score(prefix, steps, law)


def models(seconds: float = 0.0) -> dict[str, Any]:
    """draft, base and reward."""
    return {
        "draft": Table(0.4, "draft", seconds),
        "base": Table(0.8, "base", seconds),
        "reward": TableReward(reward_of, name="reward"),
    }


def solver(parts: dict[str, Any] | None = None, config: GSIConfig = SETTINGS) -> MathSolver:
    """The solver over table models."""
    return MathSolver(**(parts or models()), config=config)


def compiled(parts: dict[str, Any] | None = None, checkpointer: Any = None, config: GSIConfig = SETTINGS) -> Any:
    """Its graph."""
    return solver(parts, config).build().compile(checkpointer=checkpointer)


def parser() -> Parser:
    """The command line of `gsi solve`."""
    made = Parser(prog="gsi solve")
    add_arguments(made)
    return made


def parse(argv: Sequence[str]) -> Arguments:
    """A command line, read."""
    return read(parser().parse_args(argv))


def command(argv: Sequence[str], parts: dict[str, Any] | None = None) -> int:
    """The command line, over table models; the specs are checked for being the defaults. The exit code."""
    made = parts or models()

    def make(draft: str, base: str, reward: str, config: GSIConfig) -> MathSolver:
        if draft != "pocket:draft":
            raise SpecError(f"draft: no table model {draft!r}")
        return MathSolver(**made, config=config)

    try:
        with ending():
            options = parser().parse_args(argv)
            options.anyway = True  # it is not the shipped models' world
            sys.exit(run(start(options, ["gsi", "solve", *argv]), make))
    except SystemExit as stop:
        return int(stop.code or 0)


if __name__ == "__main__":
    from tests.graphs import tables  # the models of this module's name: their fingerprints tell it

    with ending():
        sys.exit(tables.command(sys.argv[2:], tables.models(float(sys.argv[1]))))
