"""What the parts of a step cost at fixed lengths: n candidates of T tokens each behind a prefix of P.

    gsi         D(a) + J + (1 − a)·(B + R)      D(a) = a·D_draft + (1 − a)·D_base      seconds a step
    sbon-base   B + R

a: the share of steps that are accepted. D: the draft writes n candidates, behind a committed step of its own or of the
base's, which it has yet to read. J: the base scores them while the reward judges them. B: the base writes n. R: the
reward judges those. The schedule is forced: a step that is refused, one behind it that is accepted, and a step of
sbon-base. Each begins where the models know the prefix, as in a run; a prompt's first reading is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat

from gsi_node.errors import ConfigError
from gsi_node.protocols import ask, prompt_length
from gsi_node.step.check import check_models
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.types import Key, Prefix, SamplingLaw, Step

SENTENCES = ("Tom has {} apples and buys {} more.", "Each of {} boxes holds {} pens.", "A train goes {} km in {} h.")


class StepSeconds(BaseModel):
    """Median seconds of each part. draft, draft_after_base: behind a step of its own, of the base's. judged: score and
    reward at the same time, as the node asks for them. base: the base writes. base_reward: the reward of those."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    draft: NonNegativeFloat
    draft_after_base: NonNegativeFloat
    score: NonNegativeFloat
    reward: NonNegativeFloat
    judged: NonNegativeFloat
    base: NonNegativeFloat
    base_reward: NonNegativeFloat

    def drafting(self, acceptance: float) -> float:
        """D(a)."""
        return acceptance * self.draft + (1 - acceptance) * self.draft_after_base

    def fallback(self, acceptance: float) -> float:
        """(1 − a)·(B + R), a step."""
        return (1 - acceptance) * self.sbon_base

    def gsi(self, acceptance: float) -> float:
        """D(a) + J + (1 − a)·(B + R)."""
        return self.drafting(acceptance) + self.judged + self.fallback(acceptance)

    @property
    def sbon_base(self) -> float:
        """B + R."""
        return self.base + self.base_reward


class CompanySeconds(BaseModel):
    """Median seconds in which `callers` calls of a part are all answered, of problems of their own, begun at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    callers: int = Field(ge=2)
    draft: NonNegativeFloat
    score: NonNegativeFloat
    reward: NonNegativeFloat
    base: NonNegativeFloat

    def gamma(self, part: str, alone: float) -> float:
        """γ of  s(j) = s(1)·(1 + γ·(j − 1)):  0 where company is free, 1 where calls are answered one by one."""
        return max(0.0, (float(getattr(self, part)) / alone - 1) / (self.callers - 1)) if alone else 1.0


@dataclass(frozen=True, slots=True)
class StepSize:
    """n candidates of `tokens` tokens behind a prefix of `prefix`."""

    n: int
    prefix: int
    tokens: int

    @property
    def law(self) -> SamplingLaw:
        """Nothing but its length ends a step."""
        return GSIConfig(n=self.n, step_end=f"tokens:{self.tokens}", max_step_tokens=self.tokens).law(eos_ids=())


class PartTimer:
    """The forced schedule on three models. Raises ConfigError, LawMismatch, VocabularyMismatch."""

    def __init__(self, parts: dict[str, Any], size: StepSize) -> None:
        check_models(
            Models(**parts), GSIConfig(n=size.n, step_end=f"tokens:{size.tokens}", max_step_tokens=size.tokens)
        )
        self.parts, self.size = parts, size
        self.start = Prefix(problem_of(parts["draft"], size.prefix))
        self.distinct: list[int] = []  # of the n candidates of a draft
        self._seconds: dict[str, list[float]] = {}

    def measure(self, repeats: int) -> StepSeconds:
        """Medians of `repeats` rounds, behind one that is not counted."""
        with ThreadPoolExecutor(1) as beside:
            self._round(0, beside)
            self._seconds.clear()
            self.distinct.clear()
            for number in range(1, 1 + repeats):
                self._round(number, beside)
        return StepSeconds(**{part: statistics.median(times) for part, times in self._seconds.items()})

    def together(self, callers: int, repeats: int) -> CompanySeconds:
        """Medians of `repeats` rounds, behind one that is not counted."""
        starts = [Prefix(f"{i}. {self.start.problem}") for i in range(callers)]
        times: dict[str, list[float]] = {}

        def at_once(part: str, calls: Iterable[Callable[[], Sequence[Step]]]) -> list[Sequence[Step]]:
            started = time.perf_counter()
            found = [future.result() for future in [pool.submit(call) for call in calls]]
            times.setdefault(part, []).append(time.perf_counter() - started)
            return found

        with ThreadPoolExecutor(callers) as pool:
            for number in range(1 + repeats):
                drawn = at_once("draft", (partial(self._drawn, "draft", x, number, "together") for x in starts))
                each = list(zip(starts, drawn, strict=True))
                at_once("score", (partial(self._scored, x, steps) for x, steps in each))
                at_once("reward", (partial(self._rewarded, x, steps) for x, steps in each))
                at_once("base", (partial(self._drawn, "base", x, number, "together") for x in starts))
        return CompanySeconds(callers=callers, **{part: statistics.median(many[1:]) for part, many in times.items()})

    def _round(self, number: int, beside: ThreadPoolExecutor) -> None:
        """Refused, accepted, and a step of sbon-base."""
        begun = self.start
        for part, name in (("draft", "refused"), ("draft_after_base", "accepted")):
            steps = self._timed(part, partial(self._drawn, "draft", begun, number, name))
            score, reward = partial(self._scored, begun, steps), partial(self._rewarded, begun, steps)
            self._timed("score", score)
            self._timed("reward", reward)
            self._timed("judged", partial(_both, beside, score, reward))
            self.distinct.append(len({step.token_ids for step in steps}))
            if name == "refused":
                begun = begun.extended(self._by_base(begun, number, "fallback")[0])
        self._by_base(self.start, number, "sbon-base")

    def _by_base(self, prefix: Prefix, number: int, name: str) -> Sequence[Step]:
        steps = self._timed("base", partial(self._drawn, "base", prefix, number, name))
        self._timed("base_reward", partial(self._rewarded, prefix, steps))
        return steps

    def _scored(self, prefix: Prefix, steps: Sequence[Step]) -> Any:
        return ask(self.parts["base"], "score", prefix, steps, self.size.law)

    def _rewarded(self, prefix: Prefix, steps: Sequence[Step]) -> Any:
        return ask(self.parts["reward"], "__call__", prefix, steps)

    def _drawn(self, role: str, prefix: Prefix, number: int, phase: str) -> Sequence[Step]:
        key = Key(number, "bench", len(prefix.steps), phase)
        steps: Sequence[Step] = ask(self.parts[role], "sample", prefix, self.size.n, key, self.size.law)
        return steps

    def _timed(self, part: str, work: Callable[[], Sequence[Step]]) -> Sequence[Step]:
        started = time.perf_counter()
        found = work()
        self._seconds.setdefault(part, []).append(time.perf_counter() - started)
        return found


def _both(beside: ThreadPoolExecutor, score: Callable[[], Any], reward: Callable[[], Any]) -> Any:
    """At the same time."""
    scored = beside.submit(score)
    reward()
    return scored.result()


def problem_of(model: object, tokens: int) -> str:
    """A problem whose prompt has so many tokens, or a few fewer. Raises ConfigError where an empty one has more."""

    def text(words: int) -> str:
        whole = " ".join(SENTENCES[i % 3].format(17 * i % 91 + 3, 29 * i % 83 + 2) for i in range(words // 4 + 1))
        return " ".join(whole.split(" ")[:words])

    def length(words: int) -> int:
        return prompt_length(model, Prefix(text(words)))

    least, beyond = 1, tokens + 1
    if length(least) > tokens:
        raise ConfigError(f"--prefix {tokens}: the prompt of one word has {length(least)} tokens already; ask for more")
    while beyond - least > 1:
        middle = (least + beyond) // 2
        least, beyond = (middle, beyond) if length(middle) <= tokens else (least, middle)
    return text(least)
