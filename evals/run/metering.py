"""Models and rewards that count, for the row being solved, what each was asked: the same protocols around another.

The row's meter, its memo and the spans of its calls travel in context variables, which LangGraph's threads and
asyncio's tasks copy, so rows in flight together are told apart. What a memo answers counts as if it had been asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from evals.run.cost import Size, Work, sizes_of
from evals.run.memo import MEMO
from gsi_node.ends import StepEnds
from gsi_node.protocols import (
    Question,
    Reward,
    StepModel,
    TokenModel,
    aask,
    ask,
    name_of,
    prompt_length,
    shares_positions,
)
from gsi_node.step.calls import Call
from gsi_node.step.guess import when_used
from gsi_node.tools.timing import Span
from gsi_node.types import Array, Ids, Key, Prefix, SamplingLaw, Score, Step

WorkByRole = dict[str, Work]
METER: ContextVar[WorkByRole | None] = ContextVar("evals_meter", default=None)
SPANS: ContextVar[list[Span] | None] = ContextVar("evals_spans", default=None)


@contextmanager
def timed() -> Iterator[None]:
    """Note when the call within began and ended, where a row is being solved."""
    spans, began = SPANS.get(), time.perf_counter()
    try:
        yield
    finally:
        if spans is not None:
            spans.append((began, time.perf_counter()))


def ids_of(steps: Sequence[Step]) -> list[Ids]:
    """The token ids of each step."""
    return [step.token_ids for step in steps]


def distinct(steps: Sequence[Step]) -> list[Ids]:
    """The same, each once: equal candidates need to be scored or judged only once."""
    return list(dict.fromkeys(ids_of(steps)))


class _Metered:
    """What model and reward share. Whatever is not wrapped is the inner object's own."""

    def __init__(self, inner: StepModel | Reward, role: str) -> None:
        self.inner = inner
        self.role = role
        self.sizes: tuple[Size, ...] | None = sizes_of(inner)

    @property
    def name(self) -> str:
        return name_of(self.inner)

    @property
    def fingerprint(self) -> str:
        return str(self.inner.fingerprint)

    def __getattr__(self, name: str) -> object:
        if name == "inner":  # asked before __init__ set it (copying, unpickling)
            raise AttributeError(name)
        return getattr(self.inner, name)

    def asked(self, method: Question, *args: object) -> list[object]:
        """The inner object's answer, or the memo's where the row has one; timed."""
        memo = MEMO.get()
        with timed():
            if memo is not None:
                return memo.answer(Call(self.role, self.inner, method, args))
            answer: list[object] = ask(self.inner, method, *args)
            return answer

    def count(
        self,
        prefix: Prefix,
        rows: Sequence[Ids],
        *,
        judged: bool = False,
        tree: bool = False,
        fed_already: int | None = None,
    ) -> None:
        """Add a request to the row's meter, where there is one and the model's size is known; of a guess, once it is
        used."""
        meter = METER.get()
        if meter is None or not self.sizes or not any(size.layers for size in self.sizes):
            return
        before = tuple(step.token_ids for step in prefix.steps)
        prompt = prompt_length(self.inner, prefix)

        def add() -> None:
            work = meter.setdefault(self.role, Work())
            if tree:
                work.draw(prompt, before, rows)
            elif fed_already is None:
                work.add(prompt, before, rows, judged=judged)
            else:
                work.look_on(prompt, before, rows[0], fed_already)

        when_used(add)


class MeteredModel(_Metered):
    """A StepModel around a StepModel."""

    inner: StepModel

    @property
    def vocabulary(self) -> str:
        return str(self.inner.vocabulary)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return tuple(self.inner.eos_ids)

    def supports(self, law: SamplingLaw) -> None:
        self.inner.supports(law)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.inner.encode(text))

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        steps = cast("list[Step]", self.asked("sample", prefix, n, key, law))
        self.count(prefix, ids_of(steps), tree=shares_positions(self.inner))
        return steps

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        scores = cast("list[Score]", self.asked("score", prefix, steps, law))
        self.count(prefix, distinct(steps))
        return scores

    async def asample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        with timed():
            steps: list[Step] = await aask(self.inner, "sample", prefix, n, key, law)
        self.count(prefix, ids_of(steps), tree=shares_positions(self.inner))
        return steps

    async def ascore(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        with timed():
            scores: list[Score] = await aask(self.inner, "score", prefix, steps, law)
        self.count(prefix, distinct(steps))
        return scores


class MeteredTokenModel(MeteredModel):
    """A TokenModel around a TokenModel."""

    inner: TokenModel

    def next_log_probs(
        self, prefix: Prefix, rows: Sequence[Ids], starts: Sequence[int], law: SamplingLaw
    ) -> list[Array]:
        """For speculative decoding: each row is fed from `start` on, what lies before having been fed already."""
        with timed():
            laws: list[Array] = ask(self.inner, "next_log_probs", prefix, rows, starts, law)
        for row, start in zip(rows, starts, strict=True):
            self.count(prefix, [row], fed_already=start)
        return laws

    def step_ends(self, law: SamplingLaw) -> StepEnds:
        return self.inner.step_ends(law)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        return self.inner.step_of(prefix, token_ids, log_prob)


class MeteredReward(_Metered):
    """A Reward around a Reward."""

    inner: Reward

    @property
    def range(self) -> tuple[float, float]:
        return self.inner.range

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        rewards = cast("list[float]", self.asked("__call__", prefix, steps))
        self.count(prefix, distinct(steps), judged=True)
        return rewards

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        with timed():
            rewards: list[float] = await aask(self.inner, "__call__", prefix, steps)
        self.count(prefix, distinct(steps), judged=True)
        return rewards


def metered(role: str, inner: StepModel | Reward) -> MeteredModel | MeteredReward:
    """The model or reward of a role, counting."""
    if role == "reward":
        return MeteredReward(inner, role)
    return MeteredTokenModel(inner, role) if isinstance(inner, TokenModel) else MeteredModel(inner, role)
