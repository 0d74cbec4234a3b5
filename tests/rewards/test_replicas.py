"""Rewards behind servers: replicas that are another model, and servers that come back as one, are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from gsi_node.errors import BackendError, BackendUnavailable, SpecError
from gsi_node.rewards.judge import JudgeReward
from gsi_node.specs.load import load_reward
from gsi_node.types import Prefix, Step
from tests.models.raw import Asked, RawServer
from tests.rewards.family_models import build_family
from tests.rewards.pooling import MODEL, PoolingServer

PREFIX = Prefix("What is 2+2?")
STEPS = [Step(text, (1,), 0.0, False) for text in ("So it is 4.\n\n", "So it is 5.")]


class Other(PoolingServer):
    """Another model under the same name."""

    def _outputs(self, ids: list[int], activated: bool) -> list[float]:
        return super()._outputs([*ids, 1000], activated)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"tokenizer={build_family(tmp_path_factory.mktemp('families'), 'trl')}&attempts=3&timeout=5"


def test_a_replica_that_gives_other_rewards_is_refused(options: str) -> None:
    with PoolingServer() as one, Other() as other, PoolingServer() as third:
        spec = f"server:{one.url}#{MODEL}@trl?{options}|"
        with pytest.raises(BackendError, match=rf"{other.url[:-3]} gives other rewards of the same steps"):
            load_reward(f"{spec}{other.url}#{MODEL}@trl")
        reward: Any = load_reward(f"{spec}{third.url}#{MODEL}@trl|http://127.0.0.1:9/v1#{MODEL}@trl")
        assert all(server.requests for server in (one, third))
        wanted = reward(PREFIX, STEPS)
        one.faults = ["503"] * 9
        assert reward(PREFIX, STEPS) == wanted
        reward.close()
    with pytest.raises(BackendUnavailable, match="asking what it serves: the connection failed"):
        load_reward(f"server:http://127.0.0.1:9/v1#{MODEL}@trl?{options}")


def test_a_server_that_comes_back_as_another_reward_model_is_noticed(
    options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PoolingServer() as server:
        reward: Any = load_reward(f"server:{server.url}#{MODEL}@trl?{options}")
        wanted = reward(PREFIX, STEPS)
        server.faults = ["reset"]
        assert reward(PREFIX, STEPS) == wanted
        say = server._outputs
        monkeypatch.setattr(server, "_outputs", lambda ids, activated: say([*ids, 1000], activated))
        server.faults = ["reset"]
        with pytest.raises(BackendError, match="gives other rewards of the same steps"):
            reward(PREFIX, STEPS)
        reward.close()


@contextmanager
def answering(edit: Callable[[Any], Any], options: str) -> Iterator[Any]:
    """A reward whose server's answers are edited after start-up."""
    with PoolingServer() as server:
        reward: Any = load_reward(f"server:{server.url}#{MODEL}@trl?{options.replace('attempts=3', 'attempts=1')}")
        server.edit = edit
        try:
            yield reward
        finally:
            reward.close()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"model": "other"}, "model 'other' answered for 'prm'"),
        ({"usage": {"prompt_tokens": 3}}, "it read 3 tokens where"),
        ({"data": [{"index": i, "data": [["0.1", "0.9"]] * 99} for i in range(2)]}, "rows of outputs|no number"),
        ({"data": [{"index": i / 2, "data": []} for i in range(2)]}, "0.5 as a token id|as a token id"),
    ],
)
def test_an_answer_that_contradicts_the_request_is_refused(edit: Any, message: str, options: str) -> None:
    with answering(lambda answer: {**answer, **edit}, options) as reward, pytest.raises((BackendError, SpecError)) as e:
        reward(PREFIX, STEPS)
    assert any(word in str(e.value) for word in message.split("|"))


def chat(models: list[dict[str, Any]] | None, named: str = "m") -> Callable[[Asked], None]:
    """A chat server that lists `models` (None: it has no such page)."""

    def answer(asked: Asked) -> None:
        if asked.head.startswith("GET"):
            if models is None:
                asked.send(b"{}", status=b"404 Not Found")
            else:
                asked.say({"data": models})
        else:
            body = json.loads(asked.body)
            good = "So it is 4" in body["messages"][0]["content"]
            asked.say({"model": named, "choices": [{"message": {"content": "8" if good else "1"}}]})

    return answer


def test_a_judge_that_serves_another_model_is_refused() -> None:
    fine = [{"id": "m", "root": "/m"}, {"id": "alias", "root": "/m"}, {"id": "lora", "root": "/l", "parent": "m"}]
    for models, named, message in (
        (None, "m", None),
        (fine, "m", None),
        (fine, "alias", None),
        (fine, "lora", "model 'lora' answered for 'm'"),
        ([{"id": "n"}], "m", "serves no model 'm'; it serves n"),
        (None, "n", "model 'n' answered for 'm'"),
    ):
        with RawServer(chat(models, named)) as server:
            judge: Any = load_reward(f"judge:{server.url}/v1#m?attempts=2")
            if message is None:
                assert judge(PREFIX, STEPS) == [8 / 9, 1 / 9]
            else:
                with pytest.raises(SpecError, match=message):
                    judge(PREFIX, STEPS)
            judge.close()


def test_every_replica_of_a_judge_is_looked_at_and_again_when_it_comes_back() -> None:
    cards = [{"id": "m", "root": "/m"}]
    with RawServer(chat(cards)) as one, RawServer(chat([{"id": "n"}])) as other:
        judge: Any = load_reward(f"judge:{one.url}/v1#m?attempts=2|{other.url}/v1#m")
        with pytest.raises(SpecError, match=f"{other.url} serves no model 'm'"):
            judge(PREFIX, STEPS)
        judge.close()
        judge = load_reward(f"judge:{one.url}/v1#m?attempts=2")
        judge(PREFIX, STEPS)
        cards[0]["root"] = "/another"
        judge._grader.transport.replicas[0].checked = None  # as after a failure
        with pytest.raises(BackendError, match="serves other weights as 'm' than before: '/another', not '/m'"):
            judge(PREFIX, STEPS)
        judge.close()


def test_a_judge_is_more_than_its_name() -> None:
    one, other, again = (JudgeReward(FakeListChatModel(responses=[text])) for text in ("5", "6", "5"))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    low, high = JudgeReward(lambda prompt: "1"), JudgeReward(lambda prompt: "9")
    assert low.fingerprint != high.fingerprint
