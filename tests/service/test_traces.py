"""One trace a request, and in it a span a stage; of the node alone, under whatever span its caller has open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.graph.world import compiled, environment
from tests.service.solvers import chat, solver


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def ids(span: ReadableSpan) -> tuple[int, int, int | None]:
    """Trace, span and parent."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id, None if span.parent is None else span.parent.span_id


def stages(steps: list[dict[str, object]]) -> Counter[str]:
    """The spans of a run of gsi."""
    count = {f"gsi.{name}": len(steps) for name in ("draft", "reward", "score_base")}
    return Counter({**count, "gsi.fallback": sum(step["source"] == "base" for step in steps)})


def test_a_request_is_one_trace(spans: InMemorySpanExporter) -> None:
    wanted = compiled().invoke({"problem": "p"})
    callers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with solver() as url:
        for headers in ({}, callers):
            chat(url, headers=headers)
    found = spans.get_finished_spans()
    roots = [span for span in found if span.name == "chat gsi"]
    assert [ids(root)[2] for root in roots] == [None, 0xB7AD6B7169203331]
    assert ids(roots[0])[0] != ids(roots[1])[0] == 0x0AF7651916CD43DD8448EB211C80319C
    for root in roots:
        own = [span for span in found if ids(span)[0] == ids(root)[0] and span is not root]
        assert Counter(span.name for span in own) == stages(wanted["steps"])
        assert {ids(span)[2] for span in own} == {ids(root)[1]}
        drafted = sum(int(str((span.attributes or {}).get("gsi.draft.generated_tokens", 0))) for span in own)
        assert drafted == wanted["usage"]["draft"]["generated_tokens"]
        assert (root.attributes or {})["gen_ai.request.model"] == "gsi" and root.kind is trace.SpanKind.SERVER


@pytest.mark.parametrize("sync", [True, False])
def test_the_nodes_own_spans_lie_in_the_callers(spans: InMemorySpanExporter, sync: bool) -> None:
    graph = compiled()
    with trace.get_tracer("caller").start_as_current_span("mine"):
        found = graph.invoke({"problem": "p"}) if sync else asyncio.run(graph.ainvoke({"problem": "p"}))
    *own, mine = spans.get_finished_spans()
    assert Counter(span.name for span in own) == stages(found["steps"])
    assert {ids(span)[2] for span in own} == {ids(mine)[1]}


def test_without_the_api_there_are_none() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from tests.graph.world import compiled\n"
        "from gsi_node import spans\n"
        "print(spans.INSTALLED, compiled().invoke({'problem': 'p'})['answer'])"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", compiled().invoke({"problem": "p"})["answer"]]
