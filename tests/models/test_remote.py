"""The client of our own service against a small one that says what it is told: who answers, and what is no number."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsi_node.errors import BackendError, BackendUnavailable, GSIError, InvalidLogProb, SpecError
from gsi_node.models.remote import RemoteModel
from gsi_node.specs.load import load_model, load_reward
from gsi_node.tables.models import TableModel
from gsi_node.types import WIRE, Key, Prefix, SamplingLaw, Step
from tests.service.running import running as serving

LAW = SamplingLaw(max_step_tokens=4)
KEY = Key(0, "p", 0, "draft")
STEP = Step("a\n\n", (97, 10, 10), -1.0, False)
MODEL = {
    "wire": WIRE,
    "name": "m",
    "role": "model",
    "fingerprint": "F",
    "vocabulary": "V",
    "eos_ids": [10],
    "range": None,
}
REWARD = {**MODEL, "role": "reward", "vocabulary": "", "eos_ids": [], "range": [0.0, 1.0]}
SAMPLED = {
    "text": "a\n\n",
    "token_ids": [97, 10],
    "log_prob": -1.0,
    "finished": False,
    "log_prob_error": 0.0,
    "beyond": 0,
}


class Service:
    """health: what it says of itself. answers: by path; each gets the fingerprint of health."""

    def __init__(self, health: dict[str, Any], port: int = 0) -> None:
        self.health = health
        self.answers: dict[str, Any] = {
            "/sample": {"steps": [SAMPLED]},
            "/score": {"scores": [[-1.0, 0.0]]},
            "/reward": {"rewards": [0.5]},
            "/encode": {"token_ids": [97]},
            "/supports": {"refusal": None},
        }
        self.fingerprint = health["fingerprint"]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.say(outer.health)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                answer = outer.answers[self.path]
                self.say({**answer, "fingerprint": outer.fingerprint} if isinstance(answer, dict) else answer)

            def say(self, answer: Any) -> None:
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Silence."""

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


@contextmanager
def running(health: dict[str, Any], **changes: Any) -> Iterator[Service]:
    service = Service({**health, **changes})
    thread = threading.Thread(target=service.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.http.shutdown()
        service.http.server_close()
        thread.join()


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "G"}, {"vocabulary": "W"}, {"eos_ids": [10, 11]}, {"fingerprint": "G", "name": "other"}],
)
def test_services_of_different_models_are_no_replicas(changes: dict[str, Any]) -> None:
    with (
        running(MODEL) as one,
        running(MODEL, **changes) as other,
        pytest.raises(SpecError, match=f"remote:{other.url} serves .*, and {one.url} .* began with .*serve one model"),
    ):
        load_model(f"remote:{one.url}?attempts=2|{other.url}")


def test_real_services_of_two_models_are_no_replicas_and_of_one_are() -> None:
    tables = [TableModel({text: 1.0}) for text in ("a\n\n", "b\n\n", "a\n\n")]
    with serving(model=tables[0]) as one, serving(model=tables[1]) as other, serving(model=tables[2]) as same:
        with pytest.raises(SpecError, match="as its fingerprint, and .* serve one model at every address"):
            load_model(f"remote:{one}?attempts=2|{other}")
        model: Any = load_model(f"remote:{one}?attempts=2|{same}")
        assert [step.text for step in model.sample(Prefix("p"), 1, KEY, LAW)] == ["a\n\n"]
        model.close()


@pytest.mark.parametrize("old", [{"stop_ids": [10]}, {"wire": 1}, {"wire": 3}, {"wire": "2"}])
def test_a_service_of_another_version_is_refused_at_once(old: dict[str, Any]) -> None:
    """Before a law is sent that it would read otherwise."""
    health = {**{name: value for name, value in MODEL.items() if name not in ("wire", "eos_ids")}, **old}
    words = r"version .* \(attempt 1 of .*Serve with this version of `gsi serve`"
    with running(health) as service, pytest.raises(SpecError, match=words):
        load_model(f"remote:{service.url}")


def test_services_of_different_rewards_are_no_replicas() -> None:
    with running(REWARD) as one, running(REWARD, range=[0.0, 2.0]) as other:
        with pytest.raises(SpecError, match="as its range"):
            load_reward(f"remote:{one.url}?attempts=2|{other.url}")
        with pytest.raises(SpecError, match="serves a reward"):
            load_model(f"remote:{one.url}?attempts=2")


def test_a_service_that_is_down_is_no_obstacle_and_none_at_all_is() -> None:
    with running(MODEL) as one:
        for urls in (f"{one.url}|http://127.0.0.1:9", f"http://127.0.0.1:9|{one.url}"):
            model: Any = load_model(f"remote:{urls.replace('|', '?attempts=2|')}")
            assert model.fingerprint == "F" and len(model.sample(Prefix("p"), 1, KEY, LAW)) == 1
            model.close()
    with pytest.raises(BackendUnavailable, match="asking what it serves"):
        load_model("remote:http://127.0.0.1:9?attempts=2|http://127.0.0.1:9")


CALLS: dict[str, Any] = {
    "sample": lambda model: model.sample(Prefix("p"), 1, KEY, LAW),
    "score": lambda model: model.score(Prefix("p"), [STEP], LAW),
    "encode": lambda model: model.encode("a"),
    "supports": lambda model: model.supports(LAW),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_service_that_serves_another_model_now_is_noticed(call: str) -> None:
    with running(MODEL) as service:
        model: Any = load_model(f"remote:{service.url}?attempts=2")
        CALLS[call](model)
        service.fingerprint = "G"
        with pytest.raises(BackendError, match="'G' answered for 'F', another model than at start-up"):
            CALLS[call](model)
        model.close()


def test_a_service_that_rewards_by_another_model_now_is_noticed() -> None:
    with running(REWARD) as service:
        reward: Any = load_reward(f"remote:{service.url}?attempts=2")
        assert reward(Prefix("p"), [STEP]) == [0.5]
        service.fingerprint = "G"
        with pytest.raises(BackendError, match="'G' answered for 'F', another reward"):
            reward(Prefix("p"), [STEP])
        reward.close()


@pytest.mark.parametrize(
    ("call", "answer", "error", "message"),
    [
        ("sample", {"steps": [{**SAMPLED, "log_prob": False}]}, InvalidLogProb, "False where a number belongs"),
        ("sample", {"steps": [{**SAMPLED, "log_prob": 0.01}]}, InvalidLogProb, "0.01 as a log-probability"),
        ("sample", {"steps": [{**SAMPLED, "log_prob": "-inf"}]}, InvalidLogProb, "probability zero"),
        ("sample", {"steps": [{**SAMPLED, "token_ids": [97.5]}]}, BackendError, "97.5 as a token id"),
        ("sample", {"steps": [{**SAMPLED, "token_ids": []}]}, BackendError, "with 0 tokens"),
        ("sample", {"steps": [{**SAMPLED, "token_ids": [97] * 5}]}, BackendError, "5 tokens where 4 were asked for"),
        ("sample", {"steps": [{**SAMPLED, "token_ids": [97, 10, 97]}]}, BackendError, "goes on after EOS 10"),
        (
            "sample",
            {"steps": [{**SAMPLED, "token_ids": [97], "finished": True}]},
            BackendError,
            "last token 97 is no EOS",
        ),
        ("sample", {"steps": [{**SAMPLED, "finished": 1}]}, BackendError, "finished 1"),
        ("sample", {"steps": [{**SAMPLED, "text": None}]}, BackendError, "text None"),
        ("sample", {"steps": [{**SAMPLED, "beyond": -1}]}, BackendError, "-1 as the number of tokens beyond"),
        ("sample", {"steps": [{**SAMPLED, "beyond": True}]}, BackendError, "True as the number of tokens beyond"),
        ("sample", {"steps": [{**SAMPLED, "log_prob_error": -0.1}]}, InvalidLogProb, "-0.1 as the bound"),
        ("score", {"scores": [[True, 0.0]]}, InvalidLogProb, "True where a number belongs"),
        ("score", {"scores": [[-1.0, -0.5]]}, InvalidLogProb, "-0.5 as the bound"),
        ("score", {"scores": [[10**400, 0.0]]}, InvalidLogProb, "where a number belongs"),
        ("encode", {"token_ids": ["97"]}, BackendError, "'97' as a token id"),
        ("supports", {"refusal": 3}, BackendError, "3 as a refusal"),
    ],
)
def test_what_is_no_answer_is_refused(call: str, answer: Any, error: type[GSIError], message: str) -> None:
    with running(MODEL) as service:
        model: Any = load_model(f"remote:{service.url}?attempts=1")
        service.answers["/" + call] = answer
        with pytest.raises(error, match=message):
            CALLS[call](model)
        model.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": ""},
        {"fingerprint": 3},
        {"range": [1.0, 0.0]},
        {"range": [0.0]},
        {"range": None},
        {"eos_ids": ["a"]},
    ],
)
def test_a_service_must_say_what_it_serves(changes: dict[str, Any]) -> None:
    with running(REWARD, **changes) as service, pytest.raises(GSIError, match=service.url):
        load_reward(f"remote:{service.url}?attempts=1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    value=JSON,
    where=st.sampled_from(["answer", "steps", "step", "text", "token_ids", "log_prob", "finished", "beyond"]),
)
def test_whatever_a_service_answers(service: tuple[Service, RemoteModel], value: Any, where: str) -> None:
    running_, model = service
    right: dict[str, Any] = {"steps": [SAMPLED]}
    whole = {"answer": value, "steps": {"steps": value}, "step": {"steps": [value]}}
    running_.answers["/sample"] = whole.get(where, {"steps": [{**SAMPLED, where: value}]})
    try:
        (step,) = model.sample(Prefix("p"), 1, KEY, LAW)
    except GSIError:
        return
    finally:
        running_.answers["/sample"] = right
    assert type(step.text) is str and step.log_prob <= 0.0 and step.token_ids and step.finished in (True, False)


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Service, RemoteModel]]:
    with running(MODEL) as found:
        model = load_model(f"remote:{found.url}?attempts=1")
        assert isinstance(model, RemoteModel)
        yield found, model
        model.close()
