"""OpenTelemetry's spans, where its API is installed (the extra `otel`); nothing where it is not.

Who gathers and sends them is the process's own affair: without an SDK they cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:
    INSTALLED = False
else:
    INSTALLED = True

Tell = Callable[[Mapping[str, str | int | float]], None]


@contextmanager
def span(name: str, caller: Mapping[str, str] | None = None) -> Iterator[Tell]:
    """A span around this block, inside of the current one; gives what adds attributes to it.

    caller: headers of a request, whose traceparent the span then continues, as that of a server.
    """
    if not INSTALLED:
        yield lambda attributes: None
        return
    kind = trace.SpanKind.INTERNAL if caller is None else trace.SpanKind.SERVER
    context = None if caller is None else propagate.extract(caller)
    with trace.get_tracer("gsi_node").start_as_current_span(name, context, kind) as current:
        yield current.set_attributes
