"""Seconds in spans of time, and the spans of the forwards of models in process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Span = tuple[float, float]
"""Begin and end, time.perf_counter seconds."""


def covered(spans: Iterable[Span]) -> float:
    """Seconds in at least one span: what two models do at the same time counts once."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


@contextmanager
def forwards(parts: Iterable[Any]) -> Iterator[list[Span]]:
    """A list to which every forward of these models adds its span, while the context lasts."""
    runners = [part.engine.runner for part in parts]
    spans: list[Span] = []
    for runner in runners:
        runner.forward_intervals = spans
    try:
        yield spans
    finally:
        for runner in runners:
            runner.forward_intervals = None
