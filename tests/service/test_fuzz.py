"""Whatever is sent to the service: an answer in bounded time, a refusal with type and message, never a 500."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.tables.models import TableModel
from tests.miniature import Miniatures
from tests.service.running import read_all, running

PREFIX = {
    "problem": "1+1",
    "steps": [{"text": "a\n\n", "token_ids": [9, 7], "finished": False}],
    "earlier": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "so"}],
}
LAW = {
    "temperature": 0.7,
    "top_p": 1.0,
    "max_step_tokens": 4,
    "ends": {"strings": ["\n\n"], "after_text": False},
    "eos_ids": [1, 2],
}
KEY = {"seed": 0, "problem_id": "p", "step": 0, "phase": "draft"}
STEPS = [{"text": "1+1=2\n\n", "token_ids": [9], "finished": True}]
GOOD: dict[str, Any] = {
    "/sample": {"prefix": PREFIX, "n": 2, "key": KEY, "law": LAW},
    "/score": {"prefix": PREFIX, "steps": STEPS, "law": LAW},
    "/encode": {"text": "1 so"},
    "/decode": {"prefix": PREFIX, "token_ids": [97, 9]},
    "/supports": {"law": LAW},
    "/reward": {"prefix": PREFIX, "steps": STEPS},
}
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20)
    | st.sampled_from(["", "\x00", "�", "𝄞", "\ud800", "\\boxed{", "1" * 500, 10**400, 2**31, 2**63, -1, [[]] * 9])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
Path = tuple[Any, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


def planted(value: Any, path: Path, other: Any) -> Any:
    """The value with another one at a place."""
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = planted(copy[path[0]], path[1:], other)
    return copy


@st.composite
def nearly_good(draw: st.DrawFn) -> tuple[str, bytes]:
    """A right request with some of its values replaced."""
    route = draw(st.sampled_from(sorted(GOOD)))
    body = GOOD[route]
    for _ in range(draw(st.integers(1, 2))):
        body = planted(body, draw(st.sampled_from(list(places(body)))), draw(VALUES))
    return route, json.dumps(body).encode()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, ...]]:
    """A transformer, a table and a reward."""
    transformer = Miniatures(tmp_path_factory.mktemp("miniatures")).language()
    with (
        running(model=transformer) as a,
        running(model=TableModel({"a\n\n": 0.5, "b": 0.5})) as b,
        running(reward=VerifierReward()) as c,
        httpx.Client(base_url=a, trust_env=False) as first,
        httpx.Client(base_url=b, trust_env=False) as second,
        httpx.Client(base_url=c, trust_env=False) as third,
    ):
        faults = Faults()
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).addHandler(faults)
        yield first, second, third
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).removeHandler(faults)
    assert faults.found == []


def check(client: httpx.Client, route: str, body: bytes) -> int:
    started = time.monotonic()
    answer = client.post(route, content=body, headers={"Content-Type": "application/json"})
    assert time.monotonic() - started < 10.0
    if answer.status_code != 200:
        assert answer.status_code in (400, 404, 413, 422), answer.text
        assert answer.json()["error"]["type"] and answer.json()["error"]["message"]
    assert answer.json()["fingerprint"]
    return answer.status_code


def test_the_good_requests_are_good(services: tuple[httpx.Client, ...]) -> None:
    """So that the others differ from a good one in what was planted alone."""
    for client in services:
        found = {check(client, route, json.dumps(body).encode()) for route, body in GOOD.items()}
        assert found == {200, 404}


@settings(max_examples=300)
@given(nearly_good())
def test_nearly_good_requests(services: tuple[httpx.Client, ...], asked: tuple[str, bytes]) -> None:
    transformer, _, reward = services
    check(reward if asked[0] == "/reward" else transformer, *asked)


@settings(max_examples=100)
@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body(services: tuple[httpx.Client, ...], route: str, body: bytes) -> None:
    for client in services:
        assert check(client, route, body) in (404, 422)


LAW_OF = b'{"law":{"temperature":1,"top_p":1,"max_step_tokens":1,"ends":{"strings":[],"after_text":false},"eos_ids":['
HOSTILE = {
    "deep lists": ("/encode", b'{"text":' + b"[" * 2_000_000),
    "deep objects": ("/encode", b'{"text":' * 400_000),
    "digits": ("/encode", b'{"text":' + b"9" * 4_000_000 + b"}"),
    "escapes": ("/encode", b'{"text":"' + b"\\ud800" * 600_000 + b'"}'),
    "unknown fields": ("/encode", b"{" + b",".join(b'"a%d":1' % i for i in range(300_000)) + b"}"),
    "wrong items": ("/supports", LAW_OF + b'"a",' * 900_000 + b"1]}}"),
    "too many items": ("/supports", LAW_OF + b"1," * 1_900_000 + b"1]}}"),
    "NaN": ("/supports", json.dumps(GOOD["/supports"]).replace("0.7", "NaN").encode()),
    "infinity": ("/supports", json.dumps(GOOD["/supports"]).replace("0.7", "1e999").encode()),
    "5000 digits": ("/sample", json.dumps(GOOD["/sample"]).replace('"seed": 0', '"seed": ' + "9" * 5000).encode()),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies(services: tuple[httpx.Client, ...], name: str) -> None:
    assert check(services[0], *HOSTILE[name]) == 422


METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "X"])
ROUTES = st.sampled_from([*GOOD, "/health", "/", "*", "//", "/%00", "/encode/", "/../health", "http://a/encode"])
NAMES = st.sampled_from(
    "Host Origin Authorization Content-Type Content-Length Transfer-Encoding Content-Encoding Expect Upgrade "
    "Connection X-Forwarded-For Accept Cookie".split()
)
CONTENTS = st.sampled_from(
    ["localhost", "application/json", "chunked", "5", "-1", "9" * 30, "100-continue", "websocket", "upgrade", "close"]
) | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)


@settings(max_examples=150)
@given(METHODS, ROUTES, st.lists(st.tuples(NAMES, CONTENTS), max_size=6), st.binary(max_size=50))
def test_any_head(
    services: tuple[httpx.Client, ...], method: str, route: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    lines = [f"{method} {route} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    exchange(services[1], "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes(services: tuple[httpx.Client, ...], sent: bytes) -> None:
    exchange(services[1], sent)


def exchange(client: httpx.Client, sent: bytes) -> None:
    """Bytes to a service: what comes back is nothing, or status lines below 500."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=0.03) as connection:
        connection.sendall(sent)
        found = b""
        with suppress(TimeoutError):
            found = connection.recv(1 << 16)
        connection.settimeout(10.0)
        connection.shutdown(socket.SHUT_WR)
        for line in (found + read_all(connection)).split(b"\r\n"):
            assert not line.startswith(b"HTTP/1.1 5"), line


class Faults(logging.Handler):
    """Keeps what the server logs as an error: a traceback that no client sees."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))
