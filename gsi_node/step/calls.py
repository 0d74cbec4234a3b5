"""Stages say what they want from a model; a driver decides how to get it: here, and now, or awaited.

A stage that needs a model is a generator: it yields a `Call`, is sent the result, and returns its value. So one body
serves sync and async graphs and the exact enumeration, and the driver alone counts tokens, calls and seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gsi_node.cancel import check_cancelled, result_of
from gsi_node.errors import BackendUnavailable
from gsi_node.positions import positions
from gsi_node.protocols import Question, Role, aask, ask, shares_positions, written_of
from gsi_node.step.guess import asking
from gsi_node.step.guesses import current_guesses
from gsi_node.types import Step, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the model or reward `backend` in `role`: backend.method(*args).

    scored: the steps it scores or rewards; None where it samples. tokens: (generated, scored) where neither tells.
    """

    role: Role
    backend: Any
    method: Question
    args: tuple[Any, ...]
    scored: Sequence[Step] | None = None
    tokens: tuple[int, int] | None = None

    def now(self) -> Any:
        check_cancelled()
        guesses = current_guesses()
        guessed = None if guesses is None else guesses.taken(self)
        with asking(self.backend):
            if guessed is not None and result_of(guessed) is not None:
                return guessed.take()
            return ask(self.backend, self.method, *self.args)

    async def later(self) -> Any:
        guesses = current_guesses()
        guessed = None if guesses is None else guesses.taken(self)
        with asking(self.backend):
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


Stage = Generator[Call, Any, T]
Bill = dict[str, Usage]  # usage by role


def run(stage: Stage[T]) -> tuple[T, Bill]:
    """Drive a stage to its value, calling the models in this thread."""
    billed = _billed(stage)
    try:
        call = next(billed)
        while True:
            try:
                result = call.now()
            except BackendUnavailable as error:
                call = billed.throw(error)
            else:
                call = billed.send(result)
    except StopIteration as stop:
        value: tuple[T, Bill] = stop.value
        return value


async def arun(stage: Stage[T]) -> tuple[T, Bill]:
    """Drive a stage to its value, awaiting the models' async twins (a worker thread where they have none)."""
    billed = _billed(stage)
    try:
        call = next(billed)
        while True:
            try:
                result = await call.later()
            except BackendUnavailable as error:
                call = billed.throw(error)
            else:
                call = billed.send(result)
    except StopIteration as stop:
        value: tuple[T, Bill] = stop.value
        return value


def _billed(stage: Stage[T]) -> Stage[tuple[T, Bill]]:
    """The same calls, and with the stage's value what they cost."""
    bill: Bill = {}
    try:
        call = next(stage)
        while True:
            started = time.perf_counter()
            try:
                result = yield call
            except BackendUnavailable as error:
                call = stage.throw(error)  # a stage may know what to do without it
                continue
            if call.method != "encode":  # no work of a model
                usage = call.usage(result, time.perf_counter() - started)
                bill[call.role] = bill.get(call.role, Usage()) + usage
            call = stage.send(result)
    except StopIteration as stop:
        for role, usage in discarded().items():
            bill[role] = bill.get(role, Usage()) + usage
        return stop.value, bill


def discarded() -> Bill:
    """The tokens of guesses that were dropped, and have not been billed yet."""
    guesses = current_guesses()
    spent = {} if guesses is None else guesses.spent()
    return {role: Usage(discarded_tokens=tokens) for role, tokens in spent.items()}
