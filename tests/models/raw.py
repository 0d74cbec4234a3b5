"""A server of bytes: what it answers to a request is whatever a function sends down the connection."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.reach import Reach

OK = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the connection to answer on, the head as text, the body, how many came before it."""

    connection: socket.socket
    head: str
    body: bytes
    number: int

    def send(self, body: bytes, *, status: bytes = b"200 OK", headers: bytes = b"") -> None:
        """A whole answer. headers: further ones, each ended by a line break."""
        length = b"Content-Length: %d\r\n" % len(body)
        self.connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + length + headers + b"\r\n" + body)

    def say(self, value: Any) -> None:
        self.send(json.dumps(value).encode())


@dataclass(slots=True)
class RawServer:
    """answer: sends what it likes; the connection is closed where it raises, or returns True. heads: of all requests.
    open: connections now. Its threads end with their connections."""

    answer: Callable[[Asked], bool | None]
    host: str = "127.0.0.1"
    heads: list[str] = field(default_factory=list)
    accepted: int = 0
    open: int = 0

    def __enter__(self) -> RawServer:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listening = socket.create_server((self.host, 0), family=family)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.open += 1
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                head = line.decode("latin-1")
                while (line := stream.readline()) not in (b"\r\n", b""):
                    head += line.decode("latin-1")
                length = next((int(h[15:]) for h in head.splitlines() if h.lower().startswith("content-length:")), 0)
                body = stream.read(length)
                self.heads.append(head)
                if self.answer(Asked(connection, head, body, len(self.heads) - 1)):
                    break
        self.open -= 1

    _listening: socket.socket = field(init=False)
    port: int = field(init=False)


def sends(body: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> Callable[[Asked], None]:
    return lambda asked: asked.send(body, headers=headers, status=status)


def writes(data: bytes) -> Callable[[Asked], bool]:
    def answer(asked: Asked) -> bool:
        asked.connection.sendall(data)
        return True

    return answer


def answered(asked: Asked) -> dict[str, Any]:
    """What a judge, a sampler of two tokens, a pooler of even probabilities or a list of models says."""
    if asked.head.startswith("GET"):
        return {"data": [{"id": "m"}]}
    inputs = json.loads(asked.body).get("input", [])
    logs = {"tokens": ["token_id:7"] * 2, "token_logprobs": [-1.0] * 2, "top_logprobs": [{"token_id:7": -1.0}] * 2}
    choice = {"index": 0, "finish_reason": "length", "token_ids": [7, 7], "message": {"content": "9"}, "logprobs": logs}
    pooled = [{"index": i, "data": [[0.5, 0.5]] * len(ids)} for i, ids in enumerate(inputs)]
    return {"choices": [choice], "data": pooled}


def transport_to(*servers: RawServer, seconds: float = 20.0, attempts: int = 2, timeout: float = 9.0) -> Transport:
    """A transport that gives up after `seconds`."""
    patience = Reach(timeout=timeout, attempts=attempts, deadline=seconds, first_wait=0.01, longest_wait=0.02)
    return Transport([server.url for server in servers], patience)


def ask(transport: Transport, body: Any = None, read: Callable[[Any], Any] = lambda answer: answer, **more: Any) -> Any:
    """The answer to one request, and the connections closed."""
    try:
        return transport.wait(transport.ask("/x", body, read, "a test", **more))
    finally:
        transport.close()
