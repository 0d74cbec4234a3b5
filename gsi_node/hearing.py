"""Candidates of one call of `sample`, told as they end, while the others are still drawn.

Who calls may hear; a model that can tells what it hears from (`current_hear`), and none need to. What is told is no
answer: that is what `sample` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from gsi_node.types import Step

Ended = Mapping[int, Callable[[], Step]]
"""Candidates by their place in the call, each made when it is looked at."""
Hear = Callable[[Ended], None]
"""Returns at once, and raises nothing: it is called by the thread that draws."""

_hear: ContextVar[Hear | None] = ContextVar("gsi_hear", default=None)


@contextmanager
def hearing(hear: Hear | None) -> Iterator[None]:
    """Who hears of the candidates that calls within draw."""
    token = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(token)


def current_hear() -> Hear | None:
    """Whom a model tells; None where nobody hears."""
    return _hear.get()


def at_hand(steps: Sequence[Step]) -> Ended:
    """Steps that are made."""
    return {place: partial(_same, step) for place, step in enumerate(steps)}


def _same(step: Step) -> Step:
    return step
