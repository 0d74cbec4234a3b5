"""The OpenAPI document of both services: every route, every field; it takes the bodies that they take, no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from gsi_node.service.chat_bodies import ChatBody
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.graph.world import reward_of
from tests.service.running import running
from tests.service.solvers import BODY, CHAT, chat, solver
from tests.service.test_fuzz import GOOD

CHATS: list[tuple[dict[str, Any], bool]] = [
    (BODY, True),
    ({**BODY, "gsi": {"n": 2, "beta": 3}, "n": 1, "seed": 5, "stream_options": {"include_usage": True}}, True),
    ({**BODY, "messages": [{"role": "user", "content": [{"type": "text", "text": "p"}]}]}, True),
    ({**BODY, "stop": "so", "seed": 1}, True),
    ({**BODY, "stop": ["a", "b", "c", "d"]}, True),
    ({**BODY, "stop": ["a", "b", "c", "d", "e"]}, False),
    ({**BODY, "n": 2}, False),
    ({**BODY, "gsi": {"n": 0}}, False),
    ({**BODY, "best_of": 1}, False),
    ({**BODY, "messages": []}, False),
    ({**BODY, "max_tokens": 0}, False),
]


@pytest.fixture(scope="module", params=["model", "reward", "solver"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    inside: Any = TableModel({"a\n\n": 1.0})
    services: dict[str, Callable[[], AbstractContextManager[str]]] = {
        "model": lambda: running(model=inside),
        "reward": lambda: running(reward=TableReward(reward_of, name="reward")),
        "solver": solver,
    }
    with services[str(request.param)]() as found:
        yield found


def described(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", trust_env=False, timeout=60.0).raise_for_status().json()
    return found


def takes(document: dict[str, Any], path: str, body: dict[str, Any]) -> bool:
    """Whether a body is one by the document."""
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return bool(Draft202012Validator({**schema, "components": document["components"]}).is_valid(body))


def test_every_operation_is_described_and_there(url: str) -> None:
    document = described(url)
    assert document["openapi"].startswith("3.1") and "/metrics" in document["paths"]
    with httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client:
        for path, methods in document["paths"].items():
            for method, about in methods.items():
                answer = client.request(method, path.replace("{name}", "gsi"))
                assert answer.status_code == (200 if method == "get" else 415), path
                assert about["summary"] and (
                    answer.headers["content-type"].partition(";")[0]
                    in (*about["responses"]["200"]["content"], "application/json")
                )
        error = client.get("/nowhere").json()
    Draft202012Validator(document["components"]["schemas"]["Error"]).validate(error)


def test_the_page_names_all_of_it(url: str) -> None:
    document = described(url)
    answer = httpx.get(f"{url}/docs", trust_env=False, timeout=60.0)
    assert answer.headers["content-type"].startswith("text/html") and "<script" not in answer.text
    names = [*document["paths"], *document["components"]["schemas"]]
    assert [name for name in names if name not in answer.text] == []


@pytest.mark.parametrize("body", range(len(CHATS)))
def test_the_document_takes_what_the_solver_takes(body: int) -> None:
    given, good = CHATS[body]
    with solver() as url:
        status = chat(url, **given).status_code
        assert (status == 200) == good == takes(described(url), CHAT, given)


def closed(schema: Any) -> Any:
    """The schema, where no object may have a member that it does not describe."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(item) for name, item in schema.items()}
    return {**found, "additionalProperties": False} if "properties" in found else found


def fits(
    document: dict[str, Any], path: str, answer: Any, media: str = "application/json", method: str = "post"
) -> None:
    """ValidationError where an answer is not the one that the document describes, or has more."""
    content = document["paths"][path][method]["responses"]["200"]["content"][media]
    schema = content["schema" if media == "application/json" else "x-itemSchema"]
    Draft202012Validator(closed({**schema, "components": document["components"]})).validate(answer)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"record": "candidates"},
    {"method": "expgsi"},
    {"method": "rsd"},
    {"method": "sbon-base"},
    {"method": "draft", "max_steps": 2},
]


@pytest.mark.parametrize("of", range(len(SETTINGS)))
def test_what_the_solver_answers_is_described(of: int) -> None:
    """Whole and streamed, under methods and records of several kinds: every member of it, and no more."""
    with solver(**SETTINGS[of]) as url:
        document = described(url)
        fits(document, CHAT, chat(url).json())
        more: dict[str, Any] = {"stop": "bad", "stream": True, "stream_options": {"include_usage": True}}
        for asked in ({"stream": True}, more):
            *events, done, end = chat(url, **asked).text.split("\n\n")
            assert (done, end) == ("data: [DONE]", "") and len(events) >= 3
            for event in events:
                fits(document, CHAT, json.loads(event.removeprefix("data: ")), "text/event-stream")


def test_what_is_asked_without_a_body_is_described(url: str) -> None:
    document = described(url)
    with httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client:
        for path in document["paths"].keys() & {"/health", "/v1/models", "/v1/models/{name}"}:
            fits(document, path, client.get(path.replace("{name}", "gsi")).json(), method="get")


def test_what_models_answer_is_described() -> None:
    found = 0
    for part in ({"model": TableModel({"a\n\n": 1.0})}, {"reward": TableReward(reward_of, name="reward")}):
        with running(**part) as url, httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client:
            document = described(url)
            for path in document["paths"].keys() & GOOD.keys():
                fits(document, path, client.post(path, json=GOOD[path]).raise_for_status().json())
                found += 1
    assert found == 6


def test_every_field_of_a_chat_is_described() -> None:
    with solver() as url:
        schemas = described(url)["components"]["schemas"]
    assert set(schemas["ChatBody"]["properties"]) == set(ChatBody.model_fields)
    assert {"n", "beta", "seed"} <= set(schemas["GSIContext"]["properties"])


def test_the_document_takes_what_a_model_takes() -> None:
    inside: Any = TableModel({"a\n\n": 1.0})
    with running(model=inside) as url:
        document = described(url)
    for path in document["paths"].keys() & GOOD.keys():
        assert takes(document, path, GOOD[path]), path
        assert not takes(document, path, {**GOOD[path], "more": 1}), path
    assert len(document["paths"].keys() & GOOD.keys()) == 5
