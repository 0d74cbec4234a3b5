"""What a server says reaches errors and logs escaped, cut and without the key; keys reach the spec's servers only."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from gsi_node.errors import BackendError, ConfigError, GSIError, LawMismatch, SpecError
from gsi_node.models.servers.http import Failed, Transport
from gsi_node.models.servers.reach import Reach
from gsi_node.specs.load import load_model, load_reward
from gsi_node.types import WIRE, Prefix, SamplingLaw, Step
from tests.models.raw import Asked, RawServer, ask, sends, transport_to, writes

SAID = "\x1b[2J\x1b]0;owned\x07 line\nbreak \u202egnp \u009b \ud83d\ude00 " + "long " * 900


@pytest.mark.parametrize("status", [b"400 X", b"404 X", b"500 X"])
def test_what_a_server_says_is_escaped_and_cut(status: bytes, caplog: pytest.LogCaptureFixture) -> None:
    said = json.dumps({"error": {"message": SAID}}).encode()
    caplog.set_level(logging.DEBUG)
    with RawServer(sends(said, status=status)) as one, RawServer(one.answer) as two, pytest.raises(GSIError) as raised:
        ask(transport_to(one, two))
    for text in (str(raised.value), caplog.text):
        assert "\\x1b[2J" in text or text is caplog.text
        assert not any(c in text for c in "\x1b\x07\u202e\u009b")
    assert len(str(raised.value)) < 700
    assert "\n" not in str(raised.value)


def test_a_reason_phrase_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        RawServer(writes(b"HTTP/1.1 200 \x1b[2J\r\nContent-Length: 1\r\n\r\n1")) as server,
    ):
        assert ask(transport_to(server)) == 1
    assert server.url in caplog.text and "\x1b" not in caplog.text


def test_a_failed_reader_says_its_fix() -> None:
    def read(answer: Any) -> Any:
        raise Failed(f"it said {answer}", SpecError, fix="Mend it", again=False)

    words = r"a test: it said \\x1b \(attempt 1 of 2, .* Mend it$"
    with RawServer(lambda asked: asked.say("\x1b")) as server, pytest.raises(SpecError, match=words):
        ask(transport_to(server), read=read)


def test_no_cookie_of_one_server_reaches_another() -> None:
    cookies = sends(b"1", b"Set-Cookie: a=secret; Path=/\r\n")
    with RawServer(cookies) as one, RawServer(cookies) as two:
        transport = transport_to(one, two)
        for _ in range(6):
            transport.wait(transport.ask("/", None, int, "a test"))
        transport.close()
        assert "cookie" not in "".join(one.heads + two.heads).lower()


def test_keys_go_to_the_servers_of_the_spec_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSI_API_KEY", "sesame-123")
    with RawServer(lambda asked: asked.say(1)) as other:
        aside = sends(b"", f"Location: {other.url}/\r\n".encode(), b"308 X")
        with RawServer(aside) as server, pytest.raises(SpecError, match="status 308, a redirect"):
            ask(transport_to(server))
        assert "Bearer sesame-123" in server.heads[0] and other.heads == []


ECHO = {
    "an error's message": lambda key: sends(
        json.dumps({"error": {"message": f"bad key {key}!"}}).encode(), status=b"400 X"
    ),
    "a value": lambda key: sends(json.dumps({"n": f"{key}"}).encode()),
    "a name": lambda key: sends(json.dumps({key: 1}).encode()),
}


@pytest.mark.parametrize("key", ["sesame-123", "k", "EMPTY", "wörter-und-mehr", 'a"\\b-12345'])
@pytest.mark.parametrize("where", ECHO)
def test_an_echoed_key_is_not_shown(
    where: str, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GSI_API_KEY", key)
    caplog.set_level(logging.INFO)

    def read(answer: Any) -> Any:
        (name, value), *_ = answer.items()
        return {"n": int(value)}[name]

    with RawServer(ECHO[where](key)) as one, RawServer(one.answer) as two, pytest.raises(GSIError) as raised:
        ask(transport_to(one, two), read=read)
    heads = "".join(one.heads + two.heads)
    assert f"Authorization: Bearer {key}" in heads
    assert "[key]" in str(raised.value)
    assert len(key) == 1 or key not in str(raised.value) + caplog.text


@pytest.mark.parametrize("key", ["sesame\n", " sesame", "ses\name", "ses\x01", "sésame-✓", "ses\x7fame", "\x85x"])
def test_a_key_that_no_header_can_hold_is_refused_at_start(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_A", key)
    with pytest.raises(ConfigError, match="environment variable KEY_A") as raised:
        Transport(["http://127.0.0.1:1"], Reach(api_key_env="KEY_A"))
    assert "ses" not in str(raised.value) and raised.value.__context__ is None


ESCAPES = "\x1b[2J\u202e"
CARD = {"id": f"m{ESCAPES}", "root": "r", "max_model_len": 9}
HEALTH = {
    "wire": WIRE,
    "name": "r",
    "role": "model",
    "fingerprint": "f",
    "vocabulary": "v",
    "eos_ids": [2],
    "range": None,
}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("server:{url}/v1", {"data": [CARD]}),
        ("server:{url}/v1#m", {"data": [CARD]}),
        ("server:{url}/v1#m", {"data": [{**CARD, "id": "m", "root": ESCAPES}]}),
        ("sglang:{url}", {"model_path": ESCAPES, "tokenizer_path": "t"}),
        *[("remote:{url}", {**HEALTH, key: ESCAPES}) for key in ("name", "role", "fingerprint", "vocabulary")],
        ("remote:{url}", {**HEALTH, "range": [ESCAPES, 1]}),
    ],
)
def test_names_that_a_server_gives_are_plain_text_or_refused(spec: str, said: Any) -> None:
    with RawServer(lambda asked: asked.say(said)) as server, pytest.raises(GSIError) as raised:
        load_model(spec.format(url=server.url) + "?attempts=1")
    assert str(raised.value).isprintable() and "x1b[2J" in str(raised.value)


def test_the_refusal_of_a_law_is_escaped() -> None:
    with RawServer(lambda asked: asked.say({**HEALTH, "refusal": f"no {ESCAPES}"})) as server:
        model = load_model(f"remote:{server.url}")
        with pytest.raises(LawMismatch, match=r"no \\x1b\[2J\\u202e$"):
            model.supports(SamplingLaw(temperature=1.0, max_step_tokens=2))
        model.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["8 sesame-123", "\x1b[2J", "9" * 9000])
def test_a_judges_words_are_escaped_and_cut(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSI_API_KEY", "sesame-123")

    def answer(asked: Asked) -> None:
        asked.say({"data": [{"id": "m"}], "choices": [{"message": {"content": text}}]})

    with RawServer(answer) as server:
        judge: Any = load_reward(f"judge:{server.url}/v1#m")
        with pytest.raises(BackendError, match="one digit from 0 to 9 was asked for") as raised:
            judge(Prefix("p"), [Step("s", (1,), 0.0, False)])
        judge.close()
    said = str(raised.value)
    assert said.isprintable() and len(said) < 500 and "sesame" not in said
