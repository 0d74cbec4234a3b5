"""Streams of rows: left at their ends, broken, stalled, from several replicas, and answers that are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gsi_node import compile_gsi
from gsi_node.cancel import run_cancellable
from gsi_node.errors import BackendError, BackendUnavailable, ConfigError
from gsi_node.models.servers import http
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Ends
from tests.models.ends_world import KEY, KINDS, PREFIX, Open, ended, law_of, model_of, streamed
from tests.models.serving import Bigram, Faults


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_left_at_its_end(kind: str, open_model: Open) -> None:
    """The server hears it: far fewer tokens are drawn than a row may have."""
    server, model = open_model(kind)
    law = replace(law_of("list"), max_step_tokens=400)
    server.streaming.pause, server.streaming.sent, server.streaming.left = 0.02, 0, 0
    steps = model.sample(PREFIX, 4, KEY, law)
    assert all(ended(model, step.token_ids, law.ends) for step in steps)
    until = time.monotonic() + 10
    while server.streaming.left < 3 and time.monotonic() < until:  # one may end with EOS or a stop id
        time.sleep(0.02)
    assert server.streaming.left >= 3
    assert server.streaming.sent < sum(len(step.token_ids) for step in steps) + 4 * 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", ["ainvoke", "invoke"])
def test_a_cancelled_run_ends_its_streams(call: str, kind: str, open_model: Open) -> None:
    """All of its rows are left in the middle, and the server hears it; the client is free for the next run."""
    server, model = open_model(kind)
    config = GSIConfig(n=3, max_step_tokens=400, step_end=["no such end"], max_log_ratio_error=9.0)
    graph = compile_gsi(draft=model, base=model, reward=TableReward(lambda *_: 1.0, name="one"), config=config)
    model.supports(config.law())
    server.streaming.pause, server.streaming.sent, server.streaming.left = 0.2, 0, 0

    async def cancelled() -> None:
        problem = {"problem": "1+2"}
        task = asyncio.ensure_future(
            graph.ainvoke(problem) if call == "ainvoke" else run_cancellable(graph.invoke, problem)
        )
        while server.streaming.sent < 2 * config.n:
            assert not task.done()
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(cancelled(), 60))
    until = time.monotonic() + 10
    while server.streaming.left < config.n and time.monotonic() < until:
        time.sleep(0.02)
    assert server.streaming.left == config.n and server.streaming.sent < 40 * config.n
    server.streaming.pause = 0.0
    assert len(model.sample(PREFIX, 2, KEY, law_of("list"))) == 2


def stopped_at(why: Any) -> Callable[[str, Any], Any]:
    """An answer that ends after its second token, for a reason of the server's own."""

    def edit(path: str, answer: Any) -> Any:
        for choice in answer["choices"]:
            choice["token_ids"] = choice["token_ids"][:2]
            choice["logprobs"] = {name: values[:2] for name, values in choice["logprobs"].items()}
            choice |= why
        return answer

    return edit


REFUSED = {
    "a stop string": ({"finish_reason": "stop", "stop_reason": "</s>"}, "string '</s>'.*Take that stop string out"),
    "an end left out": ({"finish_reason": "stop", "stop_reason": None}, "its end token was left out.*tokenizer=FOLDER"),
    "a cap": ({"finish_reason": "length"}, "after 2 of 24 tokens.*cap of the server's own.*Raise its cap"),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("why", REFUSED)
def test_a_server_that_ends_a_step_itself_is_refused_at_once(
    why: str, stream: bool, open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, model = open_model()
    streamed(model, monkeypatch, stream)
    server.edit = stopped_at(REFUSED[why][0])
    before = server.requests
    law = replace(law_of("list"), ends=Ends(("no such end",)))
    with pytest.raises(BackendError, match=REFUSED[why][1]):
        model.sample(PREFIX, 1, KEY, law)
    assert server.requests == before + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["reset", "500", "429", "truncate", "refuse"])
def test_a_stream_that_breaks_is_asked_for_again(kind: str, fault: str, open_model: Open) -> None:
    server, model = open_model(kind)
    wanted = model.sample(PREFIX, 3, KEY, law_of("line"))
    server.faults = Faults(plan=[fault, "", fault])
    assert model.sample(PREFIX, 3, KEY, law_of("line")) == wanted
    assert server.faults.happened[fault] == 2


def test_what_a_server_says_in_its_stream(open_model: Open) -> None:
    """An error among the events means what its status means; a server that does not stream is told so."""
    server, model = open_model()
    law = law_of("line")
    server.streaming.error = {"message": "This model's maximum context length is 9 tokens.", "code": 400}
    with pytest.raises(ConfigError, match="does not fit.*Lower max_steps"):
        model.sample(PREFIX, 2, KEY, law)
    server.streaming.error = {"message": "worker died", "type": "Internal"}
    with pytest.raises(BackendUnavailable, match="status 500: worker died"):
        model.sample(PREFIX, 2, KEY, law)
    server.streaming.error = {"message": 7}
    with pytest.raises(BackendUnavailable, match=r"status 500 \(attempt 3"):
        model.sample(PREFIX, 2, KEY, law)
    server.streaming.error, server.streaming.on = None, False
    with pytest.raises(BackendError, match="no event came.*choose a step_end that one token says"):
        model.sample(PREFIX, 2, KEY, law)


def test_a_stream_that_stalls_ends_within_the_deadline(open_model: Open) -> None:
    server, _ = open_model()
    with model_of("server", server, timeout=0.3, deadline=1.0) as model:
        server.streaming.pause = 5.0
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="no answer within"):
            model.sample(PREFIX, 2, KEY, law_of("list"))
        assert time.monotonic() - started < 4.0


def test_streams_are_shared_among_replicas_and_survive_one(open_model: Open) -> None:
    first, model = open_model()
    second, _ = open_model()
    wanted = model.sample(PREFIX, 8, KEY, law_of("line"))
    with model_of("server", first, second) as both:
        counts = first.requests, second.requests
        assert both.sample(PREFIX, 8, KEY, law_of("line")) == wanted
        assert first.requests >= counts[0] + 1 and second.requests >= counts[1] + 1
        second.alive = False
        assert both.sample(PREFIX, 8, KEY, law_of("line")) == wanted


def test_a_server_that_comes_back_as_another_between_two_streams_is_noticed(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream that is left costs its connection, so that a new one is a sign only after a second of silence."""
    server, model = open_model()
    monkeypatch.setattr(http, "CLOSING", 600.0)
    model.sample(PREFIX, 4, KEY, law_of("list"))
    before = server.requests
    model.sample(PREFIX, 4, KEY, law_of("list"))
    assert server.requests == before + 4  # no look at the server in between
    server.model = Bigram(len(server.model.log_p), (9, 10), seed=8)
    monkeypatch.setattr(http, "CLOSING", 0.0)
    with pytest.raises(BackendError, match="another model, quantisation or adapter"):
        model.sample(PREFIX, 4, KEY, law_of("list"))
