"""`gsi serve` and its client: the numbers and token ids of the process inside, and refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from gsi_node.cancel import check_cancelled
from gsi_node.errors import Cancelled, ConfigError, GSIError, LawMismatch, SpecError
from gsi_node.graph.build import compile_gsi
from gsi_node.service.base import MAX_BODY
from gsi_node.service.door import Door
from gsi_node.specs.load import load_model, load_reward
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.world import config, models
from tests.miniature import Miniatures
from tests.service.running import running

KEY = Key(3, "p", 0, "draft")
LAW = SamplingLaw(max_step_tokens=12)


def test_a_transformer_behind_the_service_is_the_transformer(tmp_path_factory: pytest.TempPathFactory) -> None:
    inside = Miniatures(tmp_path_factory.mktemp("miniatures")).language(dtype="float64")
    with running(model=inside) as url:
        model: Any = load_model(f"remote:{url}?attempts=2")
        assert (model.vocabulary, model.fingerprint, model.eos_ids) == (
            inside.vocabulary,
            inside.fingerprint,
            inside.eos_ids,
        )
        prefix = Prefix("1+2").extended(inside.sample(Prefix("1+2"), 1, KEY, LAW)[0])
        steps = model.sample(prefix, 4, KEY, LAW)
        assert steps == inside.sample(prefix, 4, KEY, LAW)
        assert model.score(prefix, steps, LAW) == inside.score(prefix, steps, LAW)
        assert model.encode("3 so") == inside.encode("3 so")
        assert [model.step_of(prefix, step.token_ids, step.log_prob) for step in steps] == steps
        with pytest.raises(GSIError, match="token id 99999"):
            model.step_of(prefix, (1, 99999), 0.0)
        model.supports(LAW)
        with pytest.raises(LawMismatch, match="EOS ids"):
            model.supports(SamplingLaw(eos_ids=(99999,)))
        with pytest.raises(ConfigError, match="does not fit|context"):
            model.sample(Prefix("1" * 400), 1, KEY, LAW)
        model.close()


def test_a_run_over_the_wire_gives_the_run_in_process() -> None:
    parts = models()
    wanted = compile_gsi(**parts, config=config()).invoke({"problem": "p"})
    with running(model=parts["draft"]) as a, running(model=parts["base"]) as b, running(reward=parts["reward"]) as c:
        far: dict[str, Any] = {
            "draft": load_model(f"remote:{a}"),
            "base": load_model(f"remote:{b}"),
            "reward": load_reward(f"remote:{c}"),
        }
        graph = compile_gsi(**far, config=config())
        found = graph.invoke({"problem": "p"})
        again = graph.invoke({"problem": "p", "initial_steps": found["steps"][:3]})
        contradicting = [{**found["steps"][0], "text": "another"}]
        with pytest.raises(ConfigError, match=r"initial_steps\[0\]: its token_ids say"):
            graph.invoke({"problem": "p", "initial_steps": contradicting})
        with pytest.raises(SpecError, match="serves a reward"):
            load_model(f"remote:{c}")
        for part in far.values():
            part.close()
    assert found["steps"] == wanted["steps"]
    assert [step["token_ids"] for step in again["steps"]] == [step["token_ids"] for step in wanted["steps"]]


def test_minus_infinity_crosses_the_wire() -> None:
    with running(model=TableModel({"a\n\n": 1.0, "b\n\n": 0.0})) as url:
        model: Any = load_model(f"remote:{url}")
        step = Step("b\n\n", (98, 10, 10), 0.0, False)
        assert model.score(Prefix("p"), [step], LAW)[0].log_prob == -float("inf")
        model.close()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "JSON"),
        (b'{"text": 3}', 422, "text"),
        (b'{"text": "a", "more": 1}', 422, "more"),
        (b'{"text": "' + b"a" * (MAX_BODY + 1) + b'"}', 413, "bytes"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(body: bytes, status: int, words: str) -> None:
    with running(model=TableModel({"a\n\n": 1.0})) as url:
        answer = httpx.post(
            f"{url}/encode", content=body, headers={"Content-Type": "application/json"}, trust_env=False
        )
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]


def test_the_client_sends_the_key_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(model=TableModel({"a\n\n": 1.0}), door=Door("sesame")) as url:
        assert httpx.post(f"{url}/encode", json={"text": "a"}, trust_env=False).status_code == 401
        monkeypatch.setenv("GSI_API_KEY", "sesame")
        model: Any = load_model(f"remote:{url}")
        assert model.encode("a") == (97,)
        model.close()


class Endless(TableModel):
    """Samples until it is cancelled."""

    stopped = threading.Event()

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        try:
            while True:
                time.sleep(0.01)
                check_cancelled()
        except Cancelled:
            self.stopped.set()
            raise


def test_work_stops_when_the_client_goes_away() -> None:
    with running(model=Endless({"a\n\n": 1.0})) as url:
        model: Any = load_model(f"remote:{url}?timeout=1&attempts=1")
        with pytest.raises(Exception, match="no answer within"):
            model.sample(Prefix("p"), 1, KEY, LAW)
        assert Endless.stopped.wait(20.0)
        model.close()


def test_rewards_are_those_of_the_process_inside() -> None:
    def reward(prefix: Prefix, step: Step) -> float:
        return len(step.text) / 10

    inside = TableReward(reward, name="length")
    steps: Sequence[Step] = [Step("ab\n\n", (1,), 0.0, False), Step("abc", (1,), 0.0, True)]
    with running(reward=inside) as url:
        far: Any = load_reward(f"remote:{url}")
        assert far(Prefix("p"), steps) == inside(Prefix("p"), steps)
        assert far.range == inside.range and far(Prefix("p"), []) == []
        far.close()


def test_every_answer_carries_the_fingerprint() -> None:
    """So a client notices a service that came back with another model."""
    inside: Any = TableModel({"a\n\n": 1.0})
    prefix, step = {"problem": "p", "steps": []}, {"text": "a\n\n", "token_ids": [], "finished": False}
    bodies: dict[str, Any] = {
        "/sample": {"prefix": prefix, "n": 1, "key": asdict(KEY), "law": asdict(LAW)},
        "/score": {"prefix": prefix, "steps": [step], "law": asdict(LAW)},
        "/encode": {"text": "a"},
        "/decode": {"prefix": {"problem": "1", "steps": []}, "token_ids": [97]},
        "/supports": {"law": asdict(LAW)},
        "/nothing": {},
    }
    with running(model=inside) as url, httpx.Client(base_url=url, trust_env=False) as client:
        answers = [client.post(path, json=body) for path, body in bodies.items()]
        answers += [client.post("/encode", json={}), client.get("/health"), client.get("/encode")]
    assert [answer.status_code for answer in answers] == [200] * 5 + [404, 422, 200, 405]
    assert {answer.json()["fingerprint"] for answer in answers} == {inside.fingerprint}
    with running(reward=TableReward(lambda prefix, step: 0.5, name="half")) as url:
        rewarded = httpx.post(f"{url}/reward", json={"prefix": prefix, "steps": [step]}, trust_env=False)
    assert rewarded.json()["fingerprint"]


TURN = {"role": "user", "content": "2 + 2?"}


@pytest.mark.parametrize(
    ("earlier", "place"),
    [
        ([{**TURN, "role": "tool"}], "prefix.earlier.0.role"),
        ([{**TURN, "content": None}], "prefix.earlier.0.content"),
        ([{**TURN, "name": "Ann"}], "prefix.earlier.0.name"),
        ([{**TURN, "content": "x" * ((1 << 18) + 1)}], "prefix.earlier.0.content"),
        ([TURN] * 4097, "prefix.earlier"),
        (TURN, "prefix.earlier"),
    ],
)
def test_turns_before_the_problem_are_bounded(earlier: Any, place: str) -> None:
    with running(reward=TableReward(lambda prefix, step: len(prefix.earlier) / 5000, name="turns")) as url:
        body: dict[str, Any] = {"steps": [{"text": "a\n\n", "token_ids": [], "finished": False}]}
        prefix = {"problem": "p", "steps": []}
        bad = httpx.post(f"{url}/reward", json={**body, "prefix": {**prefix, "earlier": earlier}}, trust_env=False)
        good = [
            httpx.post(f"{url}/reward", json={**body, "prefix": {**prefix, **more}}, trust_env=False).json()["rewards"]
            for more in ({}, {"earlier": [TURN] * 2})
        ]
    assert (bad.status_code, bad.json()["error"]["message"].partition(":")[0]) == (422, place)
    assert good == [[0.0], [2 / 5000]]
