"""The service's connections: how many, how long each may keep us waiting, and how all of them end.

uvicorn bounds neither the time that a client takes to send a request or to read its answer, nor the number of clients
that do so, and waits for them at its end. Here each connection has a deadline whenever it is the client's turn.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gsi_node.errors import ConfigError
from gsi_node.service.base import Service
from gsi_node.service.door import refuse

MAX_CONNECTIONS = 512  # below the 1024 files that a process may open by default
LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "uvicorn.error": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
        "uvicorn.access": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
    },
}
GRACE = 3.0  # seconds that the work under way has after SIGTERM or Ctrl-C


@dataclass
class ConnectionTable:
    """The connections of one server. patience: seconds a client may take, in its turn. idle: those between requests,
    longest first."""

    patience: float
    most: int = MAX_CONNECTIONS
    idle: dict[TimedConnection, None] = field(default_factory=dict)


class TimedConnection(H11Protocol):
    """A connection that is cut when its client takes longer than its patience: to send a whole head, to read an answer,
    or to ask again. (A body has its own time, in Service.) The longest idle one makes room for a new one, which is
    cut itself where all are busy."""

    table: ConnectionTable

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._deadline: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.table.most:
            next(iter(self.table.idle), self).cut()
            if transport.is_closing():  # all are busy
                return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)
        self._rest()  # uvicorn resumes writing here, which starts a deadline

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._rest()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP, in the form of all our refusals."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else the request of this body is answered already
            body = bytes(refuse(400, msg).body)
            head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            self.transport.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def cut(self) -> None:
        """End the connection now, whatever is unread or unsent."""
        self._rest()
        self.transport.abort()

    def _watch(self) -> None:
        """Start the deadline where it is the client's turn, and end it where it is ours."""
        # uvicorn types the cycle as always there, but it is None before the first request
        busy = self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]
        if busy and not self.flow.write_paused:
            self._rest()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.table.patience, self.cut)
            if not busy:
                self.table.idle[self] = None

    def _rest(self) -> None:
        self.table.idle.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """Serves until SIGTERM or Ctrl-C; then the work under way has GRACE seconds, and what stalls is cut."""

    def __init__(
        self,
        service: Service,
        *,
        patience: float = 30.0,
        most: int = MAX_CONNECTIONS,
        ready: Callable[[], None] = lambda: None,
        access_log: bool = False,
    ) -> None:
        """access_log: a line a request on standard error."""
        self._service, self._ready = service, ready

        class LimitedConnection(TimedConnection):
            table = ConnectionTable(patience, most)

        super().__init__(
            uvicorn.Config(
                service.app,
                http=LimitedConnection,
                ws="none",
                lifespan="on",
                log_config=LOGS,
                access_log=access_log,
                proxy_headers=False,
                server_header=False,
                headers=[("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")],
                timeout_keep_alive=math.ceil(patience),
                timeout_graceful_shutdown=math.ceil(GRACE) + 2,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.end(GRACE)
        loop = asyncio.get_running_loop()
        for connection in self.server_state.connections:
            if isinstance(connection, TimedConnection):
                loop.call_later(GRACE + 1.0, connection.cut)
        await super().shutdown(sockets)


@contextmanager
def in_thread(service: Service, most: int = MAX_CONNECTIONS) -> Iterator[str]:
    """The address of a service that runs in a thread of this process while the block does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        started = threading.Event()
        server = Server(service, most=most, ready=started.set)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        started.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, not yet listening. ConfigError where there is none to be had."""
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = socket.socket(family, kind, protocol)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], bound[0].getsockname()[1] if port == 0 and len(bound) > 1 else port))
    except (OSError, UnicodeError) as error:
        for listener in bound:
            listener.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error}; choose another --host or --port") from error
    return bound
