"""The guesses of a run: begun while candidates are judged, taken up by value, dropped unread where they are wrong; and
what judges its candidates early (judges.py), for certain. They stand outside of its state, and end with the call that
made them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from threading import Lock
from typing import Protocol, TypeVar

from gsi_node.protocols import Role
from gsi_node.step.guess import Ahead, Asked, Asking, CallValue, Guess, Promise, calls_of, value_of

T = TypeVar("T")


class Begun(Protocol):
    """Calls of a run that are under way before it makes them. answers: of each, by its value."""

    answers: dict[CallValue, Promise]

    def drop(self) -> None:
        """End the work; what it has found is not read."""


class Guesses:
    """Those of one call of a run, `most` at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: list[Guess] = []
        self._judges: Sequence[Begun] = ()
        self._dropped: list[Guess] = []
        self._lock = Lock()
        self._ended = False

    def hold(self, stages: Iterable[Ahead], *, wanted: bool = False) -> None:
        """These, and no others: one that is under way goes on, and one that cannot begin is none.

        wanted: whether the run will ask for them for certain; else they begin where nobody waits for their model.
        """
        with self._lock:
            kept: list[Guess] = []
            for stage in () if self._ended else stages:
                try:
                    first: Asked = next(stage)
                    value = value_of(calls_of(first)[0])
                    same = [guess for guess in self._held if value in guess.answers and not guess.dropped]
                    kept.append(same[0] if same else _apart(stage, first, 2 * self.most, wanted))
                except Exception:  # noqa: BLE001 (as in Guess: the run asks for itself)
                    continue
            self._keep(kept)

    def taken(self, call: Asking) -> Promise | None:
        """What was guessed of the answer to this call of the run. Draws for which it does not ask then are dropped."""
        with self._lock:
            begun: list[Begun] = [*self._held, *self._judges]
            guessed = [value for one in begun for value in list(one.answers)]  # one may grow meanwhile
            if call.method not in {value[0] for value in guessed}:
                return None
            value = value_of(call)
            for judge in self._judges:
                if value in judge.answers:
                    return judge.answers[value]
            found = [guess for guess in self._held if value in guess.answers and not guess.dropped]
            for guess in found:
                guess.wanted = True
            if found or call.method == "sample":
                self._keep(found)
            return found[0].answers[value] if found else None

    def judge(self, judges: Sequence[Begun]) -> None:
        """Those of the step that is about to be drafted, and no others."""
        with self._lock:
            for judge in self._judges if not self._ended else (*self._judges, *judges):
                judge.drop()
            self._judges = () if self._ended else judges

    def drop(self) -> None:
        """Drop all there are."""
        self.judge(())
        with self._lock:
            self._keep([])

    def end(self) -> None:
        """The same, and begin none any more."""
        self._ended = True
        self.drop()

    def spent(self) -> dict[Role, int]:
        """The tokens drawn for those that were dropped, by the role of their model, since this was last asked."""
        spent: dict[Role, int] = {}
        with self._lock:
            for guess in [guess for guess in self._dropped if guess.over]:
                self._dropped.remove(guess)
                if guess.tokens:
                    spent[guess.role] = spent.get(guess.role, 0) + guess.tokens
        return spent

    def _keep(self, kept: list[Guess]) -> None:
        gone = [guess for guess in self._held if guess not in kept]
        for guess in gone:
            guess.drop()
        self._dropped += [guess for guess in gone if not guess.wanted]
        self._held = kept


_current: ContextVar[Guesses | None] = ContextVar("gsi_guesses", default=None)


def unguessing() -> Context:
    """The current context, but for its guesses: what is asked within takes up none."""
    context = copy_context()
    context.run(_current.set, None)
    return context


def _apart(stage: Ahead, first: Asked, most: int, wanted: bool) -> Guess:
    return unguessing().run(Guess, stage, first, most, wanted=wanted)


def current_guesses() -> Guesses | None:
    """Those of the run that this code works for; None where none are made."""
    return _current.get()


@contextmanager
def _working_for(guesses: Guesses | None) -> Iterator[None]:
    """What runs within takes these up; another run's, which goes on between, are as they were."""
    before = _current.get()
    _current.set(guesses)
    try:
        yield
    finally:
        _current.set(before)


def iterate_guessing(items: Generator[T, None, None], most: int) -> Generator[T, None, None]:
    """`items`, each made with guesses, which end with them."""
    guesses = Guesses(most)
    try:
        while True:
            with _working_for(guesses):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        guesses.end()
        items.close()


async def aiterate_guessing(items: AsyncGenerator[T, None], most: int) -> AsyncGenerator[T, None]:
    """The same, awaited."""
    guesses = Guesses(most)
    try:
        while True:
            with _working_for(guesses):
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        guesses.end()
        await items.aclose()


def drop_guesses() -> None:
    """Where a run is over: it asks nothing more."""
    if (guesses := _current.get()) is not None:
        guesses.drop()


@contextmanager
def guessing(most: int | None) -> Iterator[None]:
    """Guesses for what runs within; none where `most` is None."""
    guesses = None if most is None else Guesses(most)
    try:
        with _working_for(guesses):
            yield
    finally:
        if guesses is not None:
            guesses.end()
