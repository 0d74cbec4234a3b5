"""The command `gsi serve` and clients that stall, crowd it, or do not read; and its end among them."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import ExitStack, suppress
from threading import Event

import httpx
import pytest

from gsi_node.service.app import MAX_WAITING
from gsi_node.service.server import GRACE, MAX_CONNECTIONS
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.service.running import command, read_all, request, running

JSON = {"Content-Type": "application/json"}
QUICK = ("--reward", "verifier", "--client-timeout", "1")
GOOD = b'{"prefix":{"problem":"p","steps":[]},"steps":[]}'
HALF = request("/reward", GOOD[:20], length=len(GOOD))

# A reward that takes its time: `problem` says how long, and "stuck" looks at no flag.
SLOW = """
import time, gsi_node.specs.load
from gsi_node.cancel import check_cancelled
class Slow:
    name, fingerprint, range = "slow", "slow-1", (0.0, 1.0)
    def __call__(self, prefix, steps):
        if prefix.problem == "stuck":
            time.sleep(60)
        until = time.monotonic() + float(prefix.problem)
        while time.monotonic() < until:
            time.sleep(0.01)
            check_cancelled()
        return [0.5] * len(steps)
gsi_node.specs.load.load_reward = lambda spec: Slow()
"""
# A model whose answers are long: 30 MB for 64 candidates, more than the sockets between hold.
LONG = """
import gsi_node.specs.load
from gsi_node.tables.models import TableModel
gsi_node.specs.load.load_model = lambda spec: TableModel({"a" * 120000: 1.0})
"""
ASK = json.dumps(
    {
        "prefix": {"problem": "p", "steps": []},
        "n": 64,
        "key": {"seed": 0, "problem_id": "p", "step": 0, "phase": "draft"},
        "law": {
            "temperature": 0.7,
            "top_p": 1.0,
            "max_step_tokens": 12,
            "ends": {"strings": ["\n\n"], "after_text": False},
            "eos_ids": None,
        },
    }
).encode()


def until_closed(client: socket.socket, started: float) -> tuple[bytes, float]:
    return read_all(client), time.monotonic() - started


def test_a_stalled_body_is_refused_and_its_connection_closed() -> None:
    with command(*QUICK) as service, service.connect() as client:
        started = time.monotonic()
        client.sendall(HALF)
        said, seconds = until_closed(client, started)
    assert said.startswith(b"HTTP/1.1 408") and b"did not arrive within 1 s" in said
    assert 0.9 < seconds < 5.0


def test_a_stalled_head_is_cut() -> None:
    heads = (b"", b"POST /reward HTT", b"POST /reward HTTP/1.1\r\nHost: localhost\r\nX-")
    with command(*QUICK) as service, ExitStack() as stack:
        clients = [stack.enter_context(service.connect()) for _ in heads]
        started = time.monotonic()
        for client, head in zip(clients, heads, strict=True):
            client.sendall(head)
        for client in clients:
            said, seconds = until_closed(client, started)
            assert said == b"" and 0.9 < seconds < 5.0


def test_a_byte_now_and_then_buys_no_time() -> None:
    """After an answer too: uvicorn's own timer for idle connections ends at the first byte."""
    with command(*QUICK) as service, service.connect() as client:
        client.sendall(request("/reward", GOOD))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            for byte in b"POST /reward HTTP/1.1\r\nHost: localhost\r\n" * 2:
                client.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - started < 5.0


def test_a_reader_that_does_not_read_is_cut() -> None:
    with command("--model", "x", "--client-timeout", "1", code=LONG) as service, service.connect(4096) as client:
        client.sendall(request("/sample", ASK))
        time.sleep(3.0)
        assert len(read_all(client)) < 25_000_000
        assert httpx.get(f"{service.url}/health", trust_env=False).json()["waiting"] == 0


def test_idle_connections_do_not_keep_others_out() -> None:
    with command("--reward", "verifier") as service, ExitStack() as stack:
        idle = [stack.enter_context(service.connect()) for _ in range(500)]
        started = time.monotonic()
        answer = httpx.post(f"{service.url}/reward", content=GOOD, headers=JSON, trust_env=False)
        assert answer.status_code == 200 and time.monotonic() - started < 2.0
        idle += [stack.enter_context(service.connect()) for _ in range(200)]
        answer = httpx.post(f"{service.url}/reward", content=GOOD, headers=JSON, trust_env=False)
        assert answer.status_code == 200
        assert sum(map(cut, idle)) >= len(idle) - MAX_CONNECTIONS
        assert not cut(idle[-1])  # the longest idle ones made room


def test_where_all_connections_are_busy_a_new_one_is_cut() -> None:
    answer = Event()

    def slow(prefix: Prefix, step: Step) -> float:
        answer.wait(20.0)
        return 0.5

    step = {"text": "a", "token_ids": [], "finished": True}
    body = json.dumps({"prefix": {"problem": "p", "steps": []}, "steps": [step]}).encode()
    with running(reward=TableReward(slow), most=2) as url, ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20.0)) for _ in range(2)]
        for client in clients:
            client.sendall(request("/reward", body))
        time.sleep(0.5)
        with socket.create_connection(("127.0.0.1", port), 20.0) as third:
            assert read_all(third) == b""
        answer.set()
        assert [client.recv(1 << 16)[:12] for client in clients] == [b"HTTP/1.1 200"] * 2


def test_uploads_are_among_the_requests_under_way() -> None:
    """Each counts from the first byte of its body."""
    with command("--reward", "verifier") as service, ExitStack() as stack:
        for _ in range(MAX_WAITING):
            stack.enter_context(service.connect()).sendall(HALF)
        for _ in range(100):
            if httpx.get(f"{service.url}/health", trust_env=False).json()["waiting"] == MAX_WAITING:
                break
            time.sleep(0.05)
        answer = httpx.post(f"{service.url}/reward", content=GOOD, headers=JSON, trust_env=False)
        assert answer.status_code == 503 and answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(("with_signal", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_ends_soon_among_stalled_clients(with_signal: int, code: int) -> None:
    with command("--model", "x", code=LONG) as service, ExitStack() as stack:
        clients = [stack.enter_context(service.connect(4096)) for _ in range(4)]
        clients[1].sendall(b"POST /encode HTTP/1.1\r\nHost: loc")
        clients[2].sendall(request("/encode", b'{"tex', length=99))
        clients[3].sendall(request("/sample", ASK))
        time.sleep(0.5)
        found, seconds = service.end(with_signal)
        assert read_all(clients[2]).startswith(b"HTTP/1.1 503")
    assert found == code
    assert seconds < GRACE + 4.0
    assert "Traceback" not in service.said


def test_work_under_way_is_finished_or_refused_at_the_end() -> None:
    with command("--reward", "x", code=SLOW) as service, ExitStack() as stack:
        clients = [stack.enter_context(service.connect()) for _ in range(3)]
        for client, problem in zip(clients, ("1.0", "60", "stuck"), strict=True):
            client.sendall(request("/reward", GOOD.replace(b'"p"', b'"%s"' % problem.encode())))
        time.sleep(0.5)
        code, seconds = service.end(signal.SIGTERM)
        said = [read_all(client) for client in clients]
    assert code == 143 and seconds < GRACE + 5.0
    assert [part[:12] for part in said] == [b"HTTP/1.1 200", b"HTTP/1.1 503", b"HTTP/1.1 503"]
    assert b"ended before the work was done" in said[1] and "Traceback" not in service.said


def test_a_flood_of_headers_is_refused() -> None:
    with command(*QUICK) as service, service.connect() as client:
        with suppress(ConnectionError):  # it does not read them all
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
            client.sendall(b"".join(b"X-%d: y\r\n" % i for i in range(99999)))
        said = read_all(client)
        assert said == b"" or said.startswith(b"HTTP/1.1 4")
        assert httpx.get(f"{service.url}/health", trust_env=False).status_code == 200


def test_what_is_no_http_is_refused_and_logs_no_traceback() -> None:
    chunked = b"POST /reward HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with command("--reward", "verifier") as service:
        for sent, status in (
            ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",), b"400"),  # TLS
            ((health.replace(b"Host", b"Hos t"),), b"400"),
            ((health.replace(b"\r\n\r\n", b"\r\nHost: localhost\r\n\r\n"),), b"400"),
            ((health, b"garbage\r\n\r\n"), b"400"),
            ((chunked % b"application/json", b"zz\r\n"), b"400"),
            ((chunked % b"text/plain", b"zz\r\n"), b"415"),  # answered before the garbage came
        ):
            with service.connect() as client:
                for part in sent:
                    client.sendall(part)
                    time.sleep(0.1)
                *_, last = read_all(client).split(b"HTTP/1.1 ")
            head, _, body = last.partition(b"\r\n\r\n")
            assert head.startswith(status) and json.loads(body)["error"]["message"]
        service.end(signal.SIGTERM)
    assert "Traceback" not in service.said


def cut(client: socket.socket) -> bool:
    """Whether the other side has ended an idle connection."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
