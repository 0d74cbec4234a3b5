"""A guess: model calls made before a run asks for them, in a thread of their own.

An answer is a function of what is asked and of nothing else (docs/math.md §8), so it may be used wherever the same is
asked: the rendered ids of the prefix, key, law with its cut, n, fingerprint.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Lock
from typing import Any, Protocol, TypeVar

from gsi_node.cancel import begin_apart
from gsi_node.errors import Cancelled
from gsi_node.protocols import Question, Role, ask
from gsi_node.types import Prefix


class Asking(Protocol):
    """What is asked of a model: backend.method(*args)."""

    @property
    def role(self) -> Role: ...
    @property
    def backend(self) -> Any: ...
    @property
    def method(self) -> Question: ...
    @property
    def args(self) -> tuple[Any, ...]: ...


CallValue = tuple[Hashable, ...]
Ahead = Generator[Any, Any, object]  # a stage, which yields what is Asked
Asked = Asking | tuple[Asking, ...]
One = TypeVar("One", bound=Asking)


def calls_of(asked: One | tuple[One, ...]) -> tuple[One, ...]:
    """What a stage asks for at once: one call, or several of which none waits for another."""
    return asked if isinstance(asked, tuple) else (asked,)


class Promise(Future[Any]):
    """What is expected of a call; None where it failed. used: what is to be done once a run takes it up."""

    def __init__(self) -> None:
        super().__init__()
        self.used: list[Callable[[], None]] = []
        self.set_running_or_notify_cancel()  # one who waits for it cannot cancel it

    def take(self) -> Any:
        """The answer, which is there, used."""
        for note in self.used:
            note()
        return self.result()


_promise: ContextVar[Promise | None] = ContextVar("gsi_promise", default=None)


def answering(promise: Promise) -> None:
    """What is asked from here on is for this answer."""
    _promise.set(promise)


def when_used(note: Callable[[], None]) -> None:
    """Do this once the answer that a model is at is used: now, or, where it is guessed, when a run takes it up."""
    promise = _promise.get()
    if promise is None:
        note()
    else:
        promise.used.append(note)


class _Queues:
    """What each model, by its id, is busy with: calls of runs, and guesses."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a forked child: it has none of the threads, one of which may hold the lock."""
        self.lock = Lock()
        self.asked: Counter[int] = Counter()
        self.guesses: defaultdict[int, list[Guess]] = defaultdict(list)

    @contextmanager
    def asking(self, backend: object) -> Iterator[None]:
        """Around a run's call: guesses that no run waits for give way to it."""
        with self.lock:
            self.asked[id(backend)] += 1
            idle = [guess for guess in self.guesses.get(id(backend), ()) if not guess.wanted]
        for guess in idle:
            guess.drop()
        try:
            yield
        finally:
            with self.lock:
                self.asked[id(backend)] -= 1
                if self.asked[id(backend)] <= 0:  # below 0 in a child that was forked within
                    del self.asked[id(backend)]

    def enter(self, guess: Guess, backend: object, most: int) -> None:
        """Raises Cancelled where a run waits for the model, unless one wants this guess, or where `most` guesses do."""
        with self.lock:
            there = self.guesses.get(id(backend), ())
            if guess.dropped or (self.asked[id(backend)] and not guess.wanted) or len(there) >= most:
                raise Cancelled("the model has other work than guesses")
            self.guesses[id(backend)].append(guess)

    def leave(self, guess: Guess, backend: object) -> None:
        with self.lock:
            self.guesses[id(backend)].remove(guess)
            if not self.guesses[id(backend)]:
                del self.guesses[id(backend)]


_queues = _Queues()
asking = _queues.asking
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_queues.forget)


Expected = list[tuple[Asking, Promise]]


class Guess:
    """The calls of one stage, made early. most: guesses, whoever's, that one model may have at a time.

    answers: of each call, by its value. wanted: whether a run asked for one of them, or will.
    role, tokens: who draws, and how many. over: whether nothing of it is under way. Raises Cancelled where the model
    has other work.
    """

    def __init__(self, stage: Ahead, first: Asked, most: int, *, wanted: bool) -> None:
        self.answers: dict[CallValue, Promise] = {}
        self.wanted, self.dropped, self.over = wanted, False, False
        self.role, self.tokens = calls_of(first)[0].role, 0
        self._flag = Event()
        self._stage, self._most, self._asked = stage, most, first
        expected = self._expect()
        try:
            begin_apart(lambda: self._work(expected), self._flag, "gsi-guess")
        except BaseException:  # there can be no more threads
            self._leave(expected)
            raise

    def drop(self) -> None:
        """End its work; what it has found is not read."""
        self.dropped = True
        self._flag.set()

    def _expect(self) -> Expected:
        """Promises for the calls that the stage asks for now."""
        expected: Expected = []
        try:
            for call in calls_of(self._asked):
                value, promise = value_of(call), Promise()
                _queues.enter(self, call.backend, self._most)
                expected.append((call, promise))
                self.answers[value] = promise
        except BaseException:
            self._leave(expected)
            for _, promise in expected:
                promise.set_result(None)
            raise
        return expected

    def _leave(self, expected: Expected) -> None:
        for call, _ in expected:
            _queues.leave(self, call.backend)

    def _work(self, expected: Expected) -> None:
        while expected:
            answers: list[Any] = []
            for place, (call, promise) in enumerate(expected):
                answering(promise)
                answers.append(self._answered(call))
                if answers[-1] is None:
                    self._leave(expected[place + 1 :])
                    break
            answers += [None] * (len(expected) - len(answers))
            following = [] if answers[-1] is None else self._following(answers)
            self.over = not following
            for (_, promise), answer in zip(expected, answers, strict=True):
                promise.set_result(answer)
            expected = following

    def _answered(self, call: Asking) -> Any:
        """The answer; None where there is none."""
        try:
            answer = ask(call.backend, call.method, *call.args)
        except Cancelled as error:
            self.tokens += error.tokens
            return None
        except BaseException:  # noqa: BLE001 (a run that needs the answer asks for itself, and is told what is wrong)
            return None
        finally:
            _queues.leave(self, call.backend)
        if call.method == "sample":
            self.tokens += sum(len(step.token_ids) + step.beyond for step in answer)
        return answer

    def _following(self, answers: list[Any]) -> Expected:
        """What the stage asks for behind these answers; it is expected before anybody reads them."""
        try:
            self._asked = self._stage.send(answers if isinstance(self._asked, tuple) else answers[0])
            return self._expect()
        except Exception:  # noqa: BLE001 (there is nothing more, or the run is told as above)
            return []


def value_of(call: Asking) -> CallValue:
    """All that an answer is a function of: the model's fingerprint, the prefix and its ids as the model reads them, and
    what else is asked. Equal values have equal answers."""
    backend, args = call.backend, call.args
    reads = isinstance(args[0], Prefix) and hasattr(backend, "prefix_ids")
    rendered = backend.prefix_ids(args[0]) if reads else None
    return call.method, backend.fingerprint, rendered, *(tuple(a) if isinstance(a, list) else a for a in args)
