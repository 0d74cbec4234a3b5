"""Stages say what they want from a model; a driver decides how to get it: here, and now, or awaited.

A stage that needs a model is a generator: it yields a `Call`, or several at once, is sent the result, and returns its
value. So one body serves sync and async graphs and the exact enumeration, and the driver alone counts tokens, calls and
seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from gsi_node.cancel import check_cancelled, result_of, together
from gsi_node.errors import BackendUnavailable
from gsi_node.hearing import Hear, hearing
from gsi_node.positions import positions
from gsi_node.protocols import Question, Role, aask, ask, shares_positions, written_of
from gsi_node.step.guess import asking, calls_of
from gsi_node.step.guesses import current_guesses
from gsi_node.types import Step, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the model or reward `backend` in `role`: backend.method(*args).

    scored: the steps it scores or rewards; None where it samples. tokens: (generated, scored) where neither tells.
    hear: who hears of candidates as they end.
    """

    role: Role
    backend: Any
    method: Question
    args: tuple[Any, ...]
    scored: Sequence[Step] | None = None
    tokens: tuple[int, int] | None = None
    hear: Hear | None = None

    def now(self) -> Any:
        check_cancelled()
        guesses = current_guesses()
        guessed = None if guesses is None else guesses.taken(self)
        with asking(self.backend), hearing(self.hear):
            if guessed is not None and result_of(guessed) is not None:
                return guessed.take()
            return ask(self.backend, self.method, *self.args)

    async def later(self) -> Any:
        guesses = current_guesses()
        guessed = None if guesses is None else guesses.taken(self)
        with asking(self.backend), hearing(self.hear):
            if guessed is not None and await asyncio.wrap_future(guessed) is not None:
                return guessed.take()
            return await aask(self.backend, self.method, *self.args)

    def usage(self, result: Any, seconds: float) -> Usage:
        """Tokens generated (by a reward that writes, too) or scored, positions, one call, and its wall seconds."""
        if self.tokens is not None:
            return Usage(*self.tokens, calls=1, seconds=seconds, generated_positions=self.tokens[0])
        if self.scored is None:
            tokens = sum(len(step.token_ids) + step.beyond for step in result)
            fed = positions(step.token_ids for step in result) if shares_positions(self.backend) else tokens
            return Usage(generated_tokens=tokens, calls=1, seconds=seconds, generated_positions=fed)
        scored = sum(len(step.token_ids) for step in self.scored)
        written = self._written() if self.method == "__call__" else 0
        return Usage(written, scored, 1, seconds, written)

    def _written(self) -> int:
        """Tokens that a reward wrote: equal texts are written about once, and blank ones never."""
        steps = {step.text: step for step in self.scored or () if step.text.strip()}
        notes = (one for step in steps.values() for one in written_of(self.backend, self.args[0], step))
        return sum(one["tokens"] for one in notes)


Stage = Generator[Call | tuple[Call, ...], Any, T]
"""Of a tuple of calls none waits for another; it is sent the list of their results."""
Bill = dict[str, Usage]  # usage by role


class Answered(NamedTuple):
    """The result of one call, and its wall seconds."""

    result: Any
    seconds: float


Outcome = Answered | BackendUnavailable


def run(stage: Stage[T]) -> tuple[T, Bill]:
    """Drive a stage to its value, calling the models in this thread."""
    billed = _billed(stage)
    try:
        calls = next(billed)
        while True:
            calls = billed.send(list(_outcomes(calls)))
    except StopIteration as stop:
        value: tuple[T, Bill] = stop.value
        return value


async def arun(stage: Stage[T]) -> tuple[T, Bill]:
    """Drive a stage to its value, awaiting the models' async twins (a worker thread where they have none), of calls
    that do not wait for one another all at once."""
    billed = _billed(stage)
    try:
        calls = next(billed)
        while True:
            calls = billed.send(await together(map(_outcome, calls)) if calls[1:] else [await _outcome(calls[0])])
    except StopIteration as stop:
        value: tuple[T, Bill] = stop.value
        return value


def _outcomes(calls: Sequence[Call]) -> Iterator[Outcome]:
    """Of the calls in order, up to the first that reaches nobody."""
    for call in calls:
        started = time.perf_counter()
        try:
            yield Answered(call.now(), time.perf_counter() - started)
        except BackendUnavailable as error:
            yield error
            return


async def _outcome(call: Call) -> Outcome:
    started = time.perf_counter()
    try:
        return Answered(await call.later(), time.perf_counter() - started)
    except BackendUnavailable as error:
        return error


def _billed(stage: Stage[T]) -> Generator[tuple[Call, ...], Sequence[Outcome], tuple[T, Bill]]:
    """The same calls, and with the stage's value what they cost."""
    bill: Bill = {}
    try:
        asked = next(stage)
        while True:
            outcomes = yield calls_of(asked)
            for call, one in zip(calls_of(asked), outcomes, strict=False):
                if isinstance(one, Answered) and call.method != "encode":  # no work of a model
                    bill[call.role] = bill.get(call.role, Usage()) + call.usage(*one)
            results: list[Any] = []
            for one in outcomes:
                if isinstance(one, BackendUnavailable):
                    asked = stage.throw(one)  # a stage may know what to do without it
                    break
                results.append(one.result)
            else:
                asked = stage.send(results if isinstance(asked, tuple) else results[0])
    except StopIteration as stop:
        for role, usage in discarded().items():
            bill[role] = bill.get(role, Usage()) + usage
        return stop.value, bill


def discarded() -> Bill:
    """The tokens of guesses that were dropped, and have not been billed yet."""
    guesses = current_guesses()
    spent = {} if guesses is None else guesses.spent()
    return {role: Usage(discarded_tokens=tokens) for role, tokens in spent.items()}
