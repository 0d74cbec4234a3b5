"""Bodies, heads and words that no honest server sends: each ends in the right value or a typed error, within bounds."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, GSIError, SpecError
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.reach import Reach
from tests.models.raw import OK, Asked, RawServer, ask, sends, transport_to, writes

GZIP = b"Content-Encoding: gzip\r\n"
MIB = 1 << 20


@pytest.mark.parametrize("encoding", ["identity", "gzip", "x-gzip", "deflate", "raw deflate"])
def test_an_answer_may_be_compressed(encoding: str) -> None:
    value = {"text": "✓ 𝔘 é", "numbers": [1, -2.5, 1e300]}
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    plain = json.dumps(value).encode()
    body = {"identity": plain, "deflate": zlib.compress(plain), "raw deflate": raw.compress(plain) + raw.flush()}.get(
        encoding, gzip.compress(plain)
    )
    header = f"Content-Encoding: {encoding.removeprefix('raw ')}\r\n".encode()
    with RawServer(lambda asked: asked.send(body, headers=header)) as server:
        assert ask(transport_to(server)) == value
    assert "Accept-Encoding: gzip, deflate\r\n" in server.heads[0]


def bomb(levels: int) -> bytes:
    """64 MiB of spaces, compressed once or twice."""
    packer = zlib.compressobj(9, wbits=31)
    data = b"".join(packer.compress(b" " * MIB) for _ in range(64)) + packer.flush()
    return data if levels == 1 else gzip.compress(data)


def endless(asked: Asked) -> None:
    asked.connection.sendall(OK + b"\r\n")
    while True:
        asked.connection.sendall(b"[" * 65536)


def endless_chunks(asked: Asked) -> None:
    asked.connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        asked.connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def drip(asked: Asked) -> None:
    asked.connection.sendall(OK + b"Content-Length: 4096\r\n\r\n")
    while True:
        asked.connection.sendall(b" ")
        time.sleep(0.02)


def drip_head(asked: Asked) -> None:
    asked.connection.sendall(OK)
    while True:
        asked.connection.sendall(b"X: y\r\n")
        time.sleep(0.02)


def informing(asked: Asked) -> None:
    while True:
        asked.connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")


HOSTILE: dict[str, tuple[Callable[[Asked], bool | None], type[GSIError], str]] = {
    "gzip bomb": (sends(bomb(1), GZIP), BackendError, "more than 1,048,576 bytes when decompressed"),
    "bomb in a bomb": (sends(bomb(2), b"Content-Encoding: gzip, gzip\r\n"), BackendError, "which was not asked for"),
    "brotli": (sends(b"\x0b\x02", b"Content-Encoding: br\r\n"), BackendError, "encoded as 'br'"),
    "zstd": (sends(b"(\xb5/\xfd", b"Content-Encoding: zstd\r\n"), BackendError, "encoded as 'zstd'"),
    "not gzip": (sends(b"{}", GZIP), BackendError, "the answer is no gzip"),
    "cut gzip": (sends(gzip.compress(b'{"a": 1}')[:-4], GZIP), BackendError, "compressed answer is cut off"),
    "a long body": (sends(b" " * (MIB + 1)), BackendError, "more than 1,048,576 bytes"),
    "an endless body": (endless, BackendError, "more than 1,048,576 bytes"),
    "endless chunks": (endless_chunks, BackendError, "more than 1,048,576 bytes"),
    "a dripping body": (drip, BackendUnavailable, "no answer within"),
    "a dripping head": (drip_head, BackendUnavailable, "no answer within"),
    "endless 103": (informing, BackendUnavailable, "no answer within"),
    "silence": (lambda asked: time.sleep(9), BackendUnavailable, "no answer within"),
    "deep lists": (sends(b"[" * 500_000), BackendError, "nested too deep"),
    "deep objects": (sends(b'{"a":' * 100_000), BackendError, "nested too deep"),
    "a long integer": (sends(b"1" * 100_000), BackendError, "no JSON"),
    "half a character": (sends(rb'{"a": "\ud800"}'), BackendError, "lone surrogate"),
    "latin-1": (sends('{"a": "é"}'.encode("latin-1"), b"Content-Type: a/b; charset=latin-1\r\n"), BackendError, "JSON"),
    "a charset that is none": (sends(b"{", b"Content-Type: a/b; charset=\xffx\r\n"), BackendError, ""),
    "nothing": (sends(b""), BackendError, "no JSON"),
    "204": (writes(b"HTTP/1.1 204 No Content\r\n\r\n"), BackendError, "status 204"),
    "101": (writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), BackendUnavailable, "connection failed"),
    "a redirect": (sends(b"", b"Location: http://127.0.0.1:1/\r\n", b"307 X"), SpecError, "status 307, a redirect"),
    "bad chunks": (writes(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"), BackendUnavailable, "connection failed"),
    "a huge head": (writes(OK + b"X: " + b"y" * 500_000 + b"\r\n\r\n{}"), BackendUnavailable, "connection failed"),
    "no HTTP": (writes(b"SSH-2.0-OpenSSH_9.2\r\n"), BackendUnavailable, "connection failed"),
    "two lengths": (writes(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"), BackendUnavailable, "failed"),
    "a deep 500": (sends(b"[" * 500_000, status=b"500 X"), BackendUnavailable, "status 500"),
    "an endless 400": (lambda asked: endless_status(asked), BackendError, "status 400"),
}


def endless_status(asked: Asked) -> None:
    asked.connection.sendall(b"HTTP/1.1 400 X\r\n\r\n")
    while True:
        asked.connection.sendall(b"[" * 65536)


@pytest.mark.parametrize("body", [None, {"a": 1}], ids=["GET", "POST"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_a_typed_error_within_bounds(name: str, body: Any) -> None:
    answer, kind, words = HOSTILE[name]
    with RawServer(answer) as server:
        started = time.monotonic()
        tracemalloc.start()
        try:
            with pytest.raises(GSIError) as raised:
                ask(transport_to(server, seconds=0.6 if words == "no answer within" else 20.0), body)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert time.monotonic() - started < 15.0
    assert type(raised.value) is kind and words in str(raised.value)
    assert server.url in str(raised.value) and "a test" in str(raised.value)
    assert most < 40 * MIB


@pytest.mark.parametrize(
    "error", [RecursionError, OverflowError, KeyError, ZeroDivisionError, StopIteration, MemoryError, RuntimeError]
)
def test_whatever_a_reader_raises_is_typed_and_quotes_nothing_long(error: type[Exception]) -> None:
    def read(answer: Any) -> Any:
        raise error(f"\x1b[2J{answer['word']}")

    word = "w" * 100_000
    with RawServer(lambda asked: asked.say({"word": word})) as server, pytest.raises(BackendError) as raised:
        ask(transport_to(server), read=read)
    assert error.__name__ in str(raised.value) and "another shape" in str(raised.value)
    assert len(str(raised.value)) < 500 and "\x1b" not in str(raised.value)
    assert raised.value.__suppress_context__ and raised.value.__cause__ is None


def test_what_was_asked_for_may_be_long() -> None:
    numbers = [i / 7 for i in range(200_000)]
    with RawServer(lambda asked: asked.say(numbers)) as server:
        with pytest.raises(BackendError, match="more than 1,048,576 bytes"):
            ask(transport_to(server, seconds=9.0, attempts=1))
        assert ask(transport_to(server, seconds=9.0), entries=len(numbers)) == numbers


def test_a_long_answer_does_not_stall_the_others() -> None:
    """Small requests, each on its own connection, while 20 MB of numbers are parsed."""
    text = json.dumps([i / 7 for i in range(1_000_000)]).encode()
    started = time.monotonic()
    json.loads(text)
    stalled = time.monotonic() - started

    def answer(asked: Asked) -> None:
        asked.send(text) if asked.body == b'"long"' else asked.say("short")

    with RawServer(answer) as server:
        transport = transport_to(server, seconds=120.0)
        long: list[int] = []
        asking = threading.Thread(
            target=lambda: long.append(
                transport.wait(
                    transport.ask("/", "long", len, "long", entries=1_000_000, deadline=time.monotonic() + 90)
                )
            )
        )
        asking.start()
        waits = []
        while asking.is_alive():
            started = time.monotonic()
            assert transport.wait(transport.ask("/", "short", str, "short")) == "short"
            waits.append(time.monotonic() - started)
        transport.close()
    assert long == [1_000_000]
    assert len(waits) > 3 and max(waits) < 0.7 * stalled, (stalled, sorted(waits)[-5:])


def test_attempts_share_one_deadline() -> None:
    with RawServer(lambda asked: time.sleep(9)) as server:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match=r"attempt \d of 50, .* of 0.7 s.*deadline=SECONDS"):
            ask(transport_to(server, seconds=0.7, timeout=0.3, attempts=50))
        assert 0.5 < time.monotonic() - started < 5.0  # 50 attempts of 0.3 s take 15


def test_a_pause_that_ends_after_the_deadline_is_not_waited_for() -> None:
    busy = sends(b"{}", b"Retry-After: 20\r\n", b"429 X")
    with RawServer(busy) as server:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="status 429 .attempt 1 of 9"):
            ask(transport_to(server, seconds=5.0, attempts=9))
        assert time.monotonic() - started < 2.0


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a law that both the tenacity of today and the one that other packages pin have."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float, *result: Any) -> Any:
        pauses.append(seconds)
        return await sleep(0.0, *result)

    monkeypatch.setattr(asyncio, "sleep", slept)
    with RawServer(sends(b"{}", b"", b"503 X")) as server:
        reach = Reach(attempts=7, first_wait=0.1, longest_wait=1.0)
        with pytest.raises(BackendUnavailable):
            ask(Transport([server.url], reach))
    assert len(pauses) == 6
    for k, pause in enumerate(pauses):
        assert min(0.1 * 2**k, 1.0) <= pause <= min(0.1 * 2**k + 0.1, 1.0)


@pytest.mark.parametrize("after", ["inf", "1e999", "nan", "-5", "Mon, 01 Jan 0001 00:00:00 +2359", "", "é", "9" * 5000])
def test_any_retry_after_is_survived(after: str) -> None:
    busy = sends(b"{}", b"Retry-After: " + after.encode("latin-1") + b"\r\n", b"429 X")
    with RawServer(busy) as server, pytest.raises(BackendUnavailable, match="status 429"):
        ask(transport_to(server))


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0.0}, {"timeout": float("nan")}, {"deadline": float("inf")}, {"deadline": -1.0}, {"attempts": 0}],
)
def test_a_patience_that_bounds_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
        Reach(**options)


def test_a_request_that_json_cannot_hold_is_refused_and_not_sent() -> None:
    for body in ({"text": "\ud800"}, {"number": float("nan")}):
        with RawServer(lambda asked: asked.say(1)) as server:
            with pytest.raises(ConfigError, match="cannot be written as JSON"):
                ask(transport_to(server), body)
            assert server.heads == []


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_a_client_that_is_dropped_closes_its_connections(recwarn: pytest.WarningsRecorder) -> None:
    """The one whose server has left already, too: asyncio warns of a connection that is collected open."""

    def dropped(leaves: bool) -> None:
        def answer(asked: Asked) -> bool:
            asked.say({})
            return leaves

        with RawServer(answer) as server:
            transport = transport_to(server)
            assert transport.wait(transport.ask("/x", None, lambda answer: answer, "a test")) == {}
            until = time.monotonic() + 20
            while leaves and server.open and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.1)
            del transport
            gc.collect()
            while server.open and time.monotonic() < until:
                time.sleep(0.01)
            assert not server.open

    dropped(leaves=False)
    dropped(leaves=True)
    gc.collect()
    assert [str(warning.message) for warning in recwarn if "unclosed" in str(warning.message)] == []
