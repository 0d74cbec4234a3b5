"""A forked child of a process that has talked to servers: its clients begin anew, on connections of its own."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsi_node.models.servers.http import Transport
from tests.models.raw import Asked, RawServer, transport_to
from tests.models.test_stopping import KINDS, Silent, client

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Python 3.12 says so
]


def in_child(work: Callable[[], Any], seconds: float = 20.0) -> str:
    """What `work` gives in a forked child, as text; "hangs" after that many seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = repr(work())
        except BaseException as error:  # noqa: BLE001 (the parent's test reads it)
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    until = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            os.close(reading)
            return "hangs"
        time.sleep(0.01)
    with os.fdopen(reading, "rb") as stream:
        return stream.read().decode()


@pytest.mark.parametrize("kind", KINDS)
def test_every_client_works_in_a_child_and_after_it(kind: str, tmp_path: Path) -> None:
    with RawServer(Silent()) as server:
        now, _, close = client(kind, server, tmp_path)
        wanted = repr(now())
        before = server.accepted
        assert in_child(now) == wanted
        assert server.accepted == before + 1  # a connection of its own
        assert repr(now()) == wanted
        assert server.accepted == before + 1  # and the parent's own is as it was
        assert in_child(lambda: in_child(now)) == repr(wanted)
        close()


def test_a_child_of_multiprocessing_may_use_the_parents_client(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    with RawServer(Silent()) as server:
        now, _, close = client("judge", server, tmp_path)
        wanted, answers = now(), fork.SimpleQueue()
        children = [fork.Process(target=lambda: answers.put(now())) for _ in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join(30)
            assert child.exitcode == 0
        assert [answers.get() for _ in children] == [wanted] * 3
        assert now() == wanted
        close()


def test_requests_under_way_stay_the_parents() -> None:
    """Forked while threads wait for answers: the child asks for itself, and the parent gets what it waits for."""
    over = threading.Event()

    def answer(asked: Asked) -> None:
        if asked.body == b'"slow"':
            over.wait(30)
        asked.say(asked.body.decode())

    with RawServer(answer) as server:
        transport = transport_to(server, seconds=60.0, timeout=60.0)

        def ask(body: str) -> Any:
            return transport.wait(transport.ask("/", body, str, "a test"))

        slow: list[str] = []
        threads = [threading.Thread(target=lambda: slow.append(ask("slow"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        while sum(replica.outstanding for replica in transport.replicas) < 4 or len(server.heads) < 4:
            time.sleep(0.01)
        assert in_child(lambda: (ask("quick"), transport.replicas[0].outstanding)) == repr(('"quick"', 0))
        over.set()
        for thread in threads:
            thread.join(30)
        assert slow == ['"slow"'] * 4
        transport.close()


def test_a_child_keeps_no_connection_of_the_parent() -> None:
    """While a child lives, the server sees that the parent has closed."""
    with RawServer(lambda asked: asked.say(1)) as server:
        transport: Transport = transport_to(server)
        transport.wait(transport.ask("/", None, int, "a test"))
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        try:
            transport.close()
            until = time.monotonic() + 10
            while server.open and time.monotonic() < until:
                time.sleep(0.01)
            assert server.open == 0
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


def test_a_child_may_close_a_client_that_it_never_used() -> None:
    with RawServer(lambda asked: asked.say(1)) as server:
        transport = transport_to(server)
        assert transport.wait(transport.ask("/", None, int, "a test")) == 1
        assert in_child(transport.close) == "None"
        assert transport.wait(transport.ask("/", None, int, "a test")) == 1
        assert server.accepted == 1
        transport.close()
