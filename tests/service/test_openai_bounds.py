"""What a solver's endpoint does under way: clients that go, more of them than places, errors, its end. And LangChain's
client for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI

from gsi_node.service.endpoint import SolverService
from gsi_node.service.server import in_thread
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.world import compiled, models, reward_of, steps_then_answer
from tests.service.running import OPEN
from tests.service.solvers import BODY, CHAT, Held, chat, client, solver, under_way, until

ASKED: Any = BODY["messages"]


def held() -> tuple[Held, dict[str, Any]]:
    """A draft that waits to be let go, and the models with it."""
    draft = Held(steps_then_answer(0.4, 5), name="draft")
    return draft, {**models(), "draft": draft}


@pytest.mark.parametrize("stream", [False, True])
def test_the_run_ends_when_its_client_goes(stream: bool) -> None:
    draft, parts = held()
    with solver(parts=parts, max_running=1) as url:
        with suppress(httpx.TimeoutException):
            chat(url, stream=stream, seconds=0.5)
        until(lambda: draft.ended == 1)
        assert draft.calls == 1
        draft.held = False  # its place is free again
        found = chat(url)
        assert found.json()["choices"][0]["message"]["content"] == compiled().invoke({"problem": "p"})["response"]


def test_a_stream_that_is_left_ends_its_run() -> None:
    draft, parts = held()
    draft.free = 1  # one step, then it is held
    with solver(parts=parts) as url, httpx.Client(trust_env=False, timeout=60.0) as going:
        with going.stream("POST", f"{url}{CHAT}", json={**BODY, "stream": True}) as answer:
            lines = answer.iter_lines()  # left open: a stream that nobody iterates any more is closed
            assert any("0\\n\\n" in line for line in lines)
            until(lambda: draft.calls == 2)
        until(lambda: draft.ended == 2)


def test_places_are_bounded_and_whoever_goes_leaves_the_queue() -> None:
    draft, parts = held()
    with solver(parts=parts, max_running=1, max_waiting=1) as url, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        first = pool.submit(chat, url)
        until(lambda: draft.calls == 1)
        with suppress(httpx.TimeoutException):
            chat(url, seconds=0.3)  # waits, and goes
        second = pool.submit(chat, url)
        until(lambda: under_way(url) == 2)
        refused = chat(url)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert set(refused.json()["error"]) == {"message", "type", "param", "code"} and draft.calls == 1
        with client(url) as asking, pytest.raises(openai.RateLimitError):
            asking.chat.completions.create(model="gsi", messages=ASKED)
        threading.Timer(0.3, setattr, (draft, "held", False)).start()
        with client(url, max_retries=3) as asking:  # which comes again after a second, as it was told
            third = asking.chat.completions.create(model="gsi", messages=ASKED)
        texts = {future.result().json()["choices"][0]["message"]["content"] for future in (first, second)}
        assert texts == {third.choices[0].message.content}


def test_at_most_so_many_run_at_a_time() -> None:
    draft, parts = held()
    with solver(parts=parts, max_running=2, max_waiting=4) as url, ThreadPoolExecutor(4) as pool:
        seeds = range(4)
        asked = [pool.submit(chat, url, seed=seed) for seed in seeds]
        until(lambda: under_way(url) == 4 and draft.calls == 2)
        draft.held = False
        found = [one.result().json()["choices"][0]["message"]["content"] for one in asked]
    graph = compiled()
    assert found == [graph.invoke({"problem": "p"}, context={"seed": seed})["response"] for seed in seeds]


def test_an_error_under_way_is_told_in_the_stream() -> None:
    def reward(prefix: Prefix, step: Step) -> float:
        return 7.0 if len(prefix.steps) == 2 else reward_of(prefix, step)

    with solver(parts={**models(), "reward": TableReward(reward, name="reward")}) as url, client(url) as asking:
        with pytest.raises(openai.InternalServerError) as whole:
            asking.chat.completions.create(model="gsi", messages=ASKED)
        stream: Any = asking.chat.completions.create(model="gsi", messages=ASKED, stream=True)
        said: list[str] = []
        with pytest.raises(openai.APIError) as caught:
            said.extend(chunk.choices[0].delta.content for chunk in stream)
    assert caught.value.code == whole.value.code == "RewardOutOfRange" and caught.value.type == "server_error"
    assert "7.0" in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_of_the_service_ends_what_goes_on(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsi_node.service.server.GRACE", 0.2)
    draft, parts = held()
    service = SolverService(compiled(parts=parts), name="gsi", names=[], door=OPEN)
    found: list[httpx.Response] = []
    with in_thread(service) as url:
        asking = threading.Thread(target=lambda: found.append(chat(url, stream=stream)))
        asking.start()
        until(lambda: draft.calls == 1)
    asking.join(10.0)
    assert "the service ended before the work was done" in found[0].text
    assert found[0].status_code == (200 if stream else 503) and draft.ended == 1


def test_langchains_client() -> None:
    wanted = compiled().invoke({"problem": "p"})
    with solver() as url, httpx2.Client(trust_env=False) as http:
        model = ChatOpenAI(
            base_url=f"{url}/v1",
            api_key="none",  # type: ignore[arg-type]
            model="gsi",
            http_client=http,
            max_retries=0,
            stream_usage=True,
            extra_body={"gsi": {"n": 3}},
        )
        whole = model.invoke("p")
        chunks = list(model.stream("p"))
        with pytest.raises(openai.BadRequestError, match="tools"):
            model.bind_tools([{"name": "f", "description": "d", "parameters": {}}]).invoke("p")
    assert whole.content == wanted["response"] and whole.response_metadata["finish_reason"] == "stop"
    assert [chunk.content for chunk in chunks if chunk.content] == [step["text"] for step in wanted["steps"]]
    assert whole.usage_metadata and whole.usage_metadata["output_tokens"] > 0
    used = [chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata]
    assert used == [whole.usage_metadata["output_tokens"]]
