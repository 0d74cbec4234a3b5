"""Whatever bytes or JSON a server answers, every reader gives values in range or a typed error, within bounds."""

from __future__ import annotations

import gzip
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi_node.errors import GSIError
from gsi_node.models.remote import RemoteModel, RemoteReward
from gsi_node.models.servers.answers import Illegible, message, read_json, retry_after, shown
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.sglang import SGLang
from gsi_node.models.servers.vllm import VLLM
from gsi_node.specs.load import load_reward
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import WIRE, Key, Prefix, SamplingLaw, Score, Step
from tests.miniature import miniature_tokenizer
from tests.models.raw import Asked, RawServer, answered
from tests.rewards.family_models import build_family

PREFIX = Prefix("1+1")
LAW = SamplingLaw(temperature=0.7, max_step_tokens=3)
KEY = Key(0, "p", 0, "draft")
STEPS = [Step("2", (9, 9), -1.0, False), Step("3.", (9, 8), -1.0, True)]
NAMES = """choices data index text logprobs tokens token_logprobs top_logprobs prompt_logprobs token_ids finish_reason
content id logprob meta_info output_token_logprobs output_top_logprobs input_token_logprobs input_top_logprobs
output_ids type message embedding steps scores rewards log_prob finished fingerprint refusal model error""".split()
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.integers(0, 12)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["token_id:9", "stop", "length", "f", "m", "-inf", "\x1b[2J", "9", 10**400])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)


def mutated(honest: Any) -> st.SearchStrategy[Any]:
    """An honest answer with one or two of its parts replaced by anything."""
    paths = list(_paths(honest))

    def put(changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
        answer = json.loads(json.dumps(honest))
        for path, value in changes:
            inner = answer
            try:
                for key in path[:-1]:
                    inner = inner[key]
                if value is DROPPED:
                    del inner[path[-1]]
                else:
                    inner[path[-1]] = value
            except (LookupError, TypeError):
                continue  # an earlier change took the place away
        return answer

    change = st.tuples(st.sampled_from(paths), values | st.just(DROPPED))
    return st.lists(change, min_size=1, max_size=2).map(put)


DROPPED = object()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


TOKEN = {"token_id:9": -1.0, "token_id:8": -2.0}
LOGS = {"tokens": ["token_id:9"] * 3, "token_logprobs": [-1.0] * 3, "top_logprobs": [TOKEN] * 3}
PROMPT = (17, 83, 17)  # "1+1" in the miniature tokenizer
ROWS = [(*PROMPT[1:], 9, last) for last in (9, 8)]
GIVEN = [[None, *({str(i): {"logprob": -1.0}, "7": {"logprob": -2.0}} for i in row)] for row in ROWS]
OWN = [[-1.0, 9, None]] * 3
TOP = [[-1.0, 9, None], [-2.0, 7, None]]
META = {"finish_reason": {"type": "length"}, "output_token_logprobs": OWN, "output_top_logprobs": [TOP] * 3}
HONEST: dict[str, Any] = {
    "vllm sample": {
        "model": "m",
        "choices": [{"index": i, "finish_reason": "length", "token_ids": [9] * 3, "logprobs": LOGS} for i in range(2)],
    },
    "vllm score": {"choices": [{"index": i, "prompt_logprobs": GIVEN[i]} for i in range(2)]},
    "sglang sample": [{"output_ids": [9] * 3, "meta_info": META}] * 2,
    "sglang score": [
        {
            "meta_info": {
                "input_token_logprobs": [OWN[0], [-1.0 if i == 9 else -3.0, i, None]],
                "input_top_logprobs": [TOP] * 2,
            }
        }
        for i in (9, 8)
    ],
    "remote sample": {
        "steps": [
            {"text": "2", "token_ids": [9], "log_prob": -1.0, "finished": False, "log_prob_error": 0.0, "beyond": 0}
        ]
        * 2,
        "fingerprint": "f",
    },
    "remote score": {"scores": [[-1.0, 0.0], [-2.0, 0.1]], "fingerprint": "f"},
    "remote reward": {"rewards": [0.5, 1.0], "fingerprint": "f"},
    "judge": {"choices": [{"message": {"content": "9"}}]},
    "pooling": {"data": [{"index": i, "data": [[0.5, 0.5]]} for i in range(2)]},
}


class Fuzzed:
    """Every client behind one server, which says `body`. A request has one attempt."""

    def __init__(self, folder: Path) -> None:
        self.body, self.headers = b"", b""
        self.server = RawServer(self.answer)
        self.server.__enter__()
        miniature_tokenizer().save_pretrained(folder / "tokenizer")
        tokens = Tokens.of_folder(str(folder / "tokenizer"), "test", PromptSettings(template="{problem}"))
        self.transport = Transport([self.server.url], Reach(timeout=30.0, attempts=1, deadline=30.0))
        vllm, sglang = (ServerModel(self.transport, kind, tokens, model="m", top_k=2) for kind in (VLLM(), SGLang()))
        health = {"wire": WIRE, "name": "r", "fingerprint": "f", "vocabulary": "v", "eos_ids": [2]}
        self.say({**health, "role": "model", "range": None})
        model = RemoteModel(self.transport)
        self.say({**health, "role": "reward", "range": [0.0, 1.0]})
        reward = RemoteReward(self.transport)
        self.transport.check = None
        source = f"{self.server.url}/v1#m"
        self.judge = load_reward(f"judge:{source}?attempts=1&timeout=30")
        self.body = b""
        self.pooling = load_reward(f"server:{source}@trl?tokenizer={build_family(folder, 'trl')}&attempts=1&timeout=30")
        self.calls: dict[str, Callable[[], Any]] = {
            "vllm sample": lambda: vllm.sample(PREFIX, 2, KEY, LAW),
            "vllm score": lambda: vllm.score(PREFIX, STEPS, LAW),
            "sglang sample": lambda: sglang.sample(PREFIX, 2, KEY, LAW),
            "sglang score": lambda: sglang.score(PREFIX, STEPS, LAW),
            "remote sample": lambda: model.sample(PREFIX, 2, KEY, LAW),
            "remote score": lambda: model.score(PREFIX, STEPS, LAW),
            "remote reward": lambda: reward(PREFIX, STEPS),
            "judge": lambda: self.judge(PREFIX, STEPS[:1]),
            "pooling": lambda: self.pooling(PREFIX, STEPS),
        }

    def answer(self, asked: Asked) -> None:
        asked.send(self.body, headers=self.headers) if self.body or self.headers else asked.say(answered(asked))

    def say(self, value: Any) -> None:
        self.body = json.dumps(value).encode()

    def close(self) -> None:
        for client in (self.judge, self.pooling):
            client.close()  # type: ignore[attr-defined]
        self.transport.close()
        self.server.__exit__()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    made = Fuzzed(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


def check(kind: str, call: Callable[[], Any]) -> bool:
    """Whether the answer was taken; its numbers are then such as the contract allows."""
    started = time.monotonic()
    try:
        result = call()
    except GSIError as error:
        assert str(error).isprintable() and len(str(error)) < 1500
        return False
    finally:
        assert time.monotonic() - started < 20.0
    for one in result:
        number, bound = (one.log_prob, one.log_prob_error) if isinstance(one, Step) else (one, 0.0)
        if isinstance(one, Score):
            number, bound = one
        assert isinstance(number, float) and not math.isnan(number) and bound >= 0.0
        assert math.isfinite(number) if kind in ("judge", "pooling", "remote reward") else number <= 1e-3
        if isinstance(one, Step):
            one.text.encode()
            assert all(type(token) is int and token >= 0 for token in one.token_ids)
    return True


@pytest.mark.parametrize("kind", HONEST)
def test_honest_answers_are_taken(kind: str, fuzzed: Fuzzed) -> None:
    fuzzed.say(HONEST[kind])
    assert check(kind, fuzzed.calls[kind])


@pytest.mark.parametrize("value", ["-inf", 1.5, -0.1, True, "inf"])
def test_a_reward_outside_of_its_range_is_refused(value: Any, fuzzed: Fuzzed) -> None:
    fuzzed.say({"rewards": [0.5, value], "fingerprint": "f"})
    assert not check("remote reward", fuzzed.calls["remote reward"])


QUICK = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("kind", HONEST)
@QUICK
@given(data=st.data())
def test_any_json_is_a_value_or_a_typed_error(kind: str, fuzzed: Fuzzed, data: st.DataObject) -> None:
    fuzzed.say(data.draw(mutated(HONEST[kind]) | values))
    check(kind, fuzzed.calls[kind])


@QUICK
@given(
    body=st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    encoding=st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip", "\xff"]),
    pack=st.sampled_from([bytes, gzip.compress, zlib.compress]),
)
def test_any_bytes_are_a_value_or_a_typed_error(
    body: bytes, encoding: str, pack: Callable[[bytes], bytes], fuzzed: Fuzzed
) -> None:
    fuzzed.body, fuzzed.headers = pack(body), f"Content-Encoding: {encoding}\r\n".encode("latin-1")
    try:
        check("judge", fuzzed.calls["judge"])
    finally:
        fuzzed.headers = b""


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=400) | values.map(lambda value: json.dumps(value).encode()), st.text(max_size=12))
def test_read_json_ends_in_a_value_or_unreadable(body: bytes, encoding: str) -> None:
    for name in ("", "gzip", encoding):
        try:
            value = read_json(body, name, 1000)
        except Illegible as error:
            assert str(error).isprintable()
        else:
            json.dumps(value, ensure_ascii=False).encode()
        assert isinstance(message(body, name), str)


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(max_size=900), st.text(max_size=12), st.integers(1, 300))
def test_shown_is_printable_short_and_without_the_key(text: str, key: str, most: int) -> None:
    said = shown(f"{text} {key} {text}", key, most)
    assert said.isprintable() and len(said) <= most + 1
    if len(key) >= 8 and key.isalnum() and key.isascii() and "[key]" not in text:
        assert key not in said


@given(st.text(max_size=40))
def test_retry_after_is_never_negative(value: str) -> None:
    assert retry_after(value) >= 0.0
