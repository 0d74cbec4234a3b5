"""The solver behind OpenAI's API, asked by OpenAI's own client: what the node says, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from gsi_node import GSIChatModel
from gsi_node.service.door import Door
from gsi_node.tables.models import TableModel
from tests.graph.test_drafts import parts as several
from tests.graph.world import compiled, models
from tests.service.solvers import chat, client, solver


@pytest.fixture(scope="module")
def asking() -> Iterator[OpenAI]:
    with solver() as url, client(url) as found:
        yield found


ASKED: Any = [{"role": "user", "content": "p"}]
NUMBERS = {"reward", "log_ratio", "tilted_reward", "ess", "accepted", "source"}


def test_an_answer_is_the_nodes() -> None:
    wanted = compiled().invoke({"problem": "p"})
    with solver() as url, client(url) as asking:
        found: Any = asking.chat.completions.create(model="gsi", messages=ASKED)
    (choice,) = found.choices
    assert (choice.message.role, choice.message.content) == ("assistant", wanted["response"])
    assert choice.finish_reason == "stop" and found.model == "gsi" and found.object == "chat.completion"
    gsi = choice.gsi
    assert {name: gsi[name] for name in ("answer", "acceptance_rate", "stop_reason")} == {
        name: wanted[name] for name in ("answer", "acceptance_rate", "stop_reason")
    }
    assert [step["reward"] for step in gsi["steps"]] == [step["reward"] for step in wanted["steps"]]
    assert "token_ids" not in json.dumps(gsi)
    bills = wanted["usage"].values()
    assert found.usage.completion_tokens == sum(bill["generated_tokens"] for bill in bills)
    assert found.usage.prompt_tokens == sum(bill["scored_tokens"] for bill in bills)
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


def test_a_stream_has_one_delta_a_step() -> None:
    wanted = compiled().invoke({"problem": "p"})
    with solver() as url, client(url) as asking:
        stream = asking.chat.completions.create(
            model="gsi", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        first, *steps, last, usage = list[Any](stream)
        plain = list[Any](asking.chat.completions.create(model="gsi", messages=ASKED, stream=True))
    assert first.choices[0].delta.role == "assistant" and not first.choices[0].delta.content
    assert [step.choices[0].delta.content for step in steps] == [step["text"] for step in wanted["steps"]]
    for step, record in zip(steps, wanted["steps"], strict=True):
        gsi = step.choices[0].gsi
        assert set(gsi) >= NUMBERS and {name: gsi[name] for name in NUMBERS} == {name: record[name] for name in NUMBERS}
        assert step.choices[0].finish_reason is None and "token_ids" not in json.dumps(gsi)
    assert last.choices[0].finish_reason == "stop" and last.choices[0].gsi["answer"] == wanted["answer"]
    assert usage.choices == [] and usage.usage.completion_tokens > 0
    assert len({chunk.id for chunk in (first, *steps, last, usage)}) == 1
    assert [chunk.choices[0].delta.content for chunk in plain] == [
        chunk.choices[0].delta.content for chunk in (first, *steps, last)
    ]  # nobody asked for the usage


def test_the_wire_is_server_sent_events() -> None:
    with solver() as url:
        body = {"model": "gsi", "messages": ASKED, "stream": True}
        found = httpx.post(f"{url}/v1/chat/completions", json=body, trust_env=False)
    assert found.headers["content-type"].startswith("text/event-stream")
    events = found.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""] and all(event.startswith("data: {") for event in events[:-2])


def test_the_finish_reason_says_whether_a_response_came_to_its_end() -> None:
    answering = TableModel({"so \\boxed{7}\n\n": 1.0}, name="answering")
    with solver(parts={**models(), "draft": answering, "base": answering}) as url, client(url) as asking:
        found: Any = asking.chat.completions.create(model="gsi", messages=ASKED)
    assert (found.choices[0].gsi["stop_reason"], found.choices[0].finish_reason) == ("answer", "stop")
    with solver(max_steps=1) as url, client(url) as asking:
        found = asking.chat.completions.create(model="gsi", messages=ASKED)
    assert (found.choices[0].gsi["stop_reason"], found.choices[0].finish_reason) == ("max_steps", "length")


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_base_would_never_write_has_a_number_that_json_has(stream: bool) -> None:
    """Its log-probability is −∞, of which strict JSON knows nothing: null."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    draft = TableModel({"no\n\n": 0.5, "so \\boxed{7}": 0.5}, name="draft")
    parts = {**models(), "draft": draft, "base": TableModel({"so \\boxed{7}": 1.0}, name="base")}
    with solver(parts=parts, record="candidates", n=8) as url:
        told = chat(url, stream=stream).text
    events = [event.removeprefix("data: ") for event in told.split("\n\n")[:-2]] if stream else [told]
    (choice,) = json.loads(events[stream], parse_constant=refuse)["choices"]
    step = choice["gsi"] if stream else choice["gsi"]["steps"][0]
    ratios = {one["text"]: one["log_ratio"] for one in step["candidates"]}
    assert ratios["no\n\n"] is None and ratios["so \\boxed{7}"] > 0


def test_settings_of_a_request() -> None:
    """What extra_body says is what the node's context says; OpenAI's own names mean the same settings."""
    contexts: list[dict[str, Any]] = [{"n": 1, "threshold": 9.0}, {"seed": 4}, {"max_tokens": 20}, {}]
    wanted = [compiled().invoke({"problem": "p"}, context=context) for context in contexts]
    assert len({outcome["response"] for outcome in wanted}) == 4
    with solver() as url, client(url) as asking:
        asked: list[dict[str, Any]] = [{"extra_body": {"gsi": context}} for context in contexts]
        asked += [{"seed": 4}, {"max_tokens": 20}, {"max_completion_tokens": 20}]
        found = [asking.chat.completions.create(model="gsi", messages=ASKED, **more) for more in asked]
    same = (0, 1, 2, 3, 1, 2, 2)
    assert [one.choices[0].message.content for one in found] == [wanted[i]["response"] for i in same]
    assert [one.choices[0].finish_reason for one in found] == ["length" if i == 2 else "stop" for i in same]


@pytest.mark.parametrize("stop", ["bad", ["good 3", "2\n\ng"], ["boxed{"], ["nowhere", "\\boxed{7}!"], ["g"]])
def test_stop_strings_end_an_answer_as_they_do_the_chat_models(stop: Any) -> None:
    """Whole and streamed; what a stop string could begin with comes when it does not. The run ends there, too."""
    said = GSIChatModel(node=compiled()).invoke("p", stop=[stop] if isinstance(stop, str) else stop)
    wanted, whole = said.response_metadata["gsi"], compiled().invoke({"problem": "p"})
    with solver() as url, client(url) as asking:
        found: Any = asking.chat.completions.create(model="gsi", messages=ASKED, stop=stop)
        chunks = list[Any](asking.chat.completions.create(model="gsi", messages=ASKED, stop=stop, stream=True))
    (choice,) = found.choices
    assert choice.message.content == said.content == "".join(one.choices[0].delta.content or "" for one in chunks)
    assert whole["response"].startswith(said.content)
    last = chunks[-1].choices[0]
    for gsi in (choice.gsi, last.gsi):
        assert {name: gsi[name] for name in ("answer", "acceptance_rate", "stop_reason")} == {
            name: wanted[name] for name in ("answer", "acceptance_rate", "stop_reason")
        }
        for role, bill in wanted["usage"].items():
            assert {**gsi["usage"][role], "seconds": bill["seconds"]} == bill
    assert "".join(step["text"] for step in choice.gsi["steps"]) == said.content
    assert "".join(one.choices[0].gsi["text"] for one in chunks[1:-1]) + (last.delta.content or "") == said.content
    assert choice.finish_reason == last.finish_reason == "stop"
    assert found.usage.completion_tokens <= sum(bill["generated_tokens"] for bill in whole["usage"].values())


NEUTRAL: dict[str, Any] = {
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "logprobs": False,
    "stop": [],
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "temperature": 0.7,
    "top_p": 1,
    "store": False,
    "user": "ann",
    "metadata": {"run": "1"},
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "stream_options": None,
    "reasoning_effort": None,
}


def test_values_that_ask_for_nothing_pass() -> None:
    with solver() as url, client(url) as asking:
        plain = asking.chat.completions.create(model="gsi", messages=ASKED)
        found = asking.chat.completions.create(model="gsi", messages=ASKED, extra_body=NEUTRAL)
    assert found.choices[0].message == plain.choices[0].message


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stop": ["so"] * 5}, "stop.list"),
        ({"stop": [""]}, "stop.list.0"),
        ({"stop": ""}, "stop.text"),
        ({"stop": [5]}, "stop.list.0"),
        ({"stop": 5}, "stop.list"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"temperature": 0.2}, "temperature"),
        ({"top_p": 0.9}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_completion_tokens"),
        ({"max_tokens": 5, "gsi": {"max_tokens": 5}}, "max_tokens"),
        ({"seed": 5, "gsi": {"seed": 5}}, "seed"),
        ({"gsi": {"n": 0}}, "gsi.n"),
        ({"gsi": {"n": 257}}, "gsi"),
        ({"gsi": {"n_fallback": 10**9}}, "gsi"),
        ({"gsi": {"method": "rsd"}}, "gsi.method"),
        ({"gsi": {"beta": 0}}, "gsi"),  # only with the solver's other settings is it wrong
        ({"best_of": 3}, "best_of"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "4", "tool_call_id": "1"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.parts.0.type"),
        ({"messages": [{"role": "assistant", "content": "4"}]}, None),
    ],
)
def test_anything_else_is_refused_by_its_name(asking: OpenAI, more: dict[str, Any], param: str | None) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            asking.chat.completions.create(model="gsi", messages=ASKED, stream=stream, extra_body=more)
        assert caught.value.param == param and caught.value.type == "invalid_request_error" and caught.value.code
        assert (param or "").partition(".")[0] in caught.value.message


def test_the_models_are_the_one_solver(asking: OpenAI) -> None:
    (found,) = asking.models.list()
    assert (found.id, found.object, found.owned_by) == ("gsi", "model", "gsi_node")
    assert asking.models.retrieve("gsi") == found
    with pytest.raises(openai.NotFoundError) as caught:
        asking.models.retrieve("meta/llama")
    assert caught.value.code == "model_not_found" and "'gsi'" in caught.value.message
    with pytest.raises(openai.NotFoundError) as caught:
        asking.chat.completions.create(model="gpt-5", messages=ASKED)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_other_routes_are_a_plain_404(asking: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        asking.embeddings.create(model="gsi", input="p")
    assert caught.value.message.startswith("Error code: 404") and "POST /v1/embeddings" in caught.value.message
    with pytest.raises(openai.APIStatusError) as other:
        asking.get("/chat/completions", cast_to=object)
    assert other.value.status_code == 405


def test_a_conversation_reaches_the_models() -> None:
    """Its turns are the node's; "developer" is the newer name of "system", and parts of text are one text."""
    seen: list[Any] = []

    def table(prefix: Any) -> dict[str, float]:
        seen.append((prefix.earlier, prefix.problem))
        return {"so \\boxed{7}": 1.0}

    turns: Any = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "refusal": None, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
    ]
    told = TableModel(table, name="told")
    with solver(parts={**models(), "draft": told, "base": told}) as url, client(url) as asking:
        asking.chat.completions.create(model="gsi", messages=turns)
    assert set(seen) == {((("system", "be brief"), ("user", "a"), ("assistant", "b")), "cd")}


def test_the_key_is_openais() -> None:
    with solver(door=Door("sesame")) as url:
        with client(url, api_key="sesame") as asking:
            assert asking.chat.completions.create(model="gsi", messages=ASKED).choices[0].finish_reason == "stop"
        with client(url) as asking, pytest.raises(openai.AuthenticationError):
            asking.models.list()


def test_several_drafts_are_billed_by_draft_and_steps_say_who_wrote() -> None:
    parts = several()
    wanted = compiled(parts=parts).invoke({"problem": "p"})
    with solver(parts=several()) as url, client(url) as asking:
        found: Any = asking.chat.completions.create(model="gsi", messages=ASKED)
    gsi = found.choices[0].gsi
    assert set(gsi["usage"]) == {"draft/0", "draft/1", "base", "reward"}
    assert [step.get("draft") for step in gsi["steps"]] == [step.get("draft") for step in wanted["steps"]]
    assert {step.get("draft") for step in gsi["steps"]} > {None}
