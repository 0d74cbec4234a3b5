"""`gsi bench --lookahead K`: what guessing the next step is worth, beside the same runs without.

The same problems under 0 and under K, in turns. Right guesses: steps whose candidates were drawn before they were asked
for. --delay: seconds that every call of the reward takes longer, as a larger one on another device would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from gsi_node.graph.build import compile_gsi
from gsi_node.pocket.world.problems import problems
from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.wrapped import Rewards, Wrapped
from gsi_node.step.config import GSIConfig
from gsi_node.step.guess import when_used
from gsi_node.step.records import decided
from gsi_node.types import Prefix, Step


class DelayedReward(Wrapped):
    """r, and `seconds` later."""

    def __init__(self, inner: Reward, seconds: float) -> None:
        super().__init__(inner, name=f"{name_of(inner)}, {seconds:g} s later")
        self.seconds = seconds

    @property
    def fingerprint(self) -> str:
        return self.members[0].fingerprint

    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        return steps, self._later

    def _later(self, said: Rewards) -> list[float]:
        time.sleep(self.seconds)
        return said[0]


@dataclass(slots=True)
class Taken:
    """What the runs under one setting took. waited: seconds for the reward. drafts: draws of the draft that were used,
    right: of these, guessed; begun: all guesses of it."""

    seconds: float = 0.0
    cpu: float = 0.0
    waited: float = 0.0
    steps: int = 0
    drafts: int = 0
    right: int = 0
    begun: int = 0
    discarded: int = 0


def measure(parts: dict[str, Any], config: GSIConfig, setting: str, values: Sequence[int], size: int) -> list[Taken]:
    """`size` problems under each value of a setting, in turns, after one to warm up."""
    graphs = [compile_gsi(**parts, config=config.model_copy(update={setting: value})) for value in values]
    graphs[0].invoke({"problem": "1 + 1", "problem_id": "warm-up"}, context={"max_steps": 2})
    taken = [Taken() for _ in graphs]
    for i, problem in enumerate(problems("test", 0, size)):
        for graph, one in list(zip(graphs, taken, strict=True))[:: -1 if i % 2 else 1]:
            with _counted(parts["draft"], one):
                started = time.perf_counter(), time.process_time()
                out = graph.invoke({"problem": problem.problem, "problem_id": i})
                one.seconds += time.perf_counter() - started[0]
                one.cpu += time.process_time() - started[1]
            one.steps += len(decided(out["steps"]))
            one.waited += out["usage"]["reward"]["seconds"] if "reward" in out["usage"] else 0.0
            one.discarded += sum(bill["discarded_tokens"] for bill in out["usage"].values())
    return taken


def table(parts: dict[str, Any], config: GSIConfig, k: int, size: int, delay: float) -> Table:
    """The runs under 0 and k, a line each."""
    if delay:
        parts = {**parts, "reward": DelayedReward(parts["reward"], delay)}
    still, ahead = measure(parts, config, "lookahead", (0, k), size)
    late = f", the reward {delay:g} s later" if delay else ""
    made = Table(
        *("lookahead", "steps", "s a step", "CPU s a step", "right guesses", "guesses", "discarded tokens a step"),
        title=f"{config.method}, n = {config.n}, {size} problems{late}",
        caption=f"{k} over 0: {ratios(ahead, still)}",
    )
    for each, one in ((0, still), (k, ahead)):
        steps = one.steps
        right = f"{one.right / one.drafts:.2f} of {one.drafts} drafts" if one.drafts else "–"
        each_step = (f"{one.seconds / steps:.4f}", f"{one.cpu / steps:.4f}")
        made.add_row(str(each), str(steps), *each_step, right, str(one.begun), f"{one.discarded / steps:.1f}")
    return made


def ratios(one: Taken, other: Taken) -> str:
    """What one took over what another did, of the same steps."""
    return f"{one.seconds / other.seconds:.2f} of the seconds, {one.cpu / other.cpu:.2f} of the CPU seconds"


@contextmanager
def _counted(draft: Any, taken: Taken) -> Iterator[None]:
    """The draft tells which of its draws were guessed, and which were used."""
    own = draft.sample

    def sample(*args: Any) -> Any:
        here, asked = True, False

        def used() -> None:
            nonlocal asked
            asked = here
            taken.drafts += 1
            taken.right += not here

        when_used(used)
        here = False
        taken.begun += not asked
        return own(*args)

    draft.sample = sample
    try:
        yield
    finally:
        del draft.sample
