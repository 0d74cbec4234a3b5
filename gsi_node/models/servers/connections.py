"""The open connections to a model's servers: one exchange of bytes, within a bound. No cookies, no redirects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from weakref import finalize

import httpx

from gsi_node.models.servers.answers import ACCEPTED, WORDS, Illegible
from gsi_node.models.servers.background import background_loop

CLOSING = 1.0
"""Seconds a check holds for new connections where each is closed after its answer: there they are no sign."""
CONNECT = 10.0  # seconds for a connection, where an attempt has more
Take = Callable[[bytes], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it was sent. opened: when its connection was, in monotonic seconds; 0 where it was open before (see
    CLOSING). encoding: its Content-Encoding. retry_after: the header, None where there is none."""

    status: int
    opened: float
    encoding: str
    retry_after: str | None
    body: bytes


class NoReasonPhrase(httpx.AsyncHTTPTransport):
    """A transport that forgets the reason phrase: words of the server's, which httpx would write into its log."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        response.extensions.pop("reason_phrase", None)
        return response


@dataclass(slots=True)
class _Opened:
    loop: asyncio.AbstractEventLoop | None = None
    clients: dict[tuple[str | None, bool], httpx.AsyncClient] = field(default_factory=dict)  # by proxy and `streams`


class Connections:
    """Opened as needed on the running loop; those of another loop, as after a fork, are let alone."""

    def __init__(self, key: str, timeout: float) -> None:
        self._timeout = timeout
        self._opened = _Opened()
        finalize(self, _let_go, self._opened).atexit = False
        self._headers = {b"Accept": b"application/json", b"Accept-Encoding": ACCEPTED.encode()}
        if key:
            self._headers[b"Authorization"] = b"Bearer " + key.encode("latin-1")

    @property
    def elsewhere(self) -> bool:
        """Whether they belong to another loop than the running one, as they do after a fork."""
        return self._opened.loop not in (None, asyncio.get_running_loop())

    async def fetch(
        self, url: str, proxy: str | None, content: bytes | None, most: int, take: Take | None = None
    ) -> Answer:
        """The answer to `content` posted as JSON, or to a GET. Illegible beyond `most` bytes; of an answer that is no
        200 the first 64 KiB. Raises httpx.RequestError.

        take: is given each piece of a stream, which has no body then, and says when it is left: its connection is
        closed, by which the server knows. Streams have connections of their own, so that those of whole answers last.
        """
        method, headers = "GET", self._headers
        if content is not None:
            method, headers = "POST", {**self._headers, b"Content-Type": b"application/json"}
        if take is not None:
            headers = {**headers, b"Accept": b"text/event-stream", b"Accept-Encoding": b"identity"}
        body, size, opened = bytearray(), 0, 0.0

        async def trace(event: str, info: Any) -> None:
            nonlocal opened
            if event.endswith(".connect_tcp.complete"):
                opened = time.monotonic()
                background_loop.connected(info["return_value"].get_extra_info("socket"))

        client = self._client(proxy, take is not None)
        async with client.stream(method, url, content=content, headers=headers, extensions={"trace": trace}) as answer:
            status, encoding = answer.status_code, answer.headers.get("Content-Encoding", "")
            take = take if status == 200 else None
            if take is not None and encoding.lower() not in ("", "identity"):
                raise Illegible(f"the stream is encoded as {encoding[:40]!r}, which was not asked for")
            async for piece in answer.aiter_raw():
                size += len(piece)
                if take is None:
                    body += piece
                if status != 200 and size > WORDS:
                    break
                if size > most:
                    raise Illegible(f"the answer has more than {most:,} bytes, where what was asked for takes fewer")
                if take is not None and await take(piece):
                    break
            if answer.headers.get("Connection", "").lower() == "close" or answer.http_version == "HTTP/1.0":
                opened = max(0.0, opened - CLOSING)
            return Answer(status, opened, encoding, answer.headers.get("Retry-After"), bytes(body))

    def _client(self, proxy: str | None, streams: bool) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._opened.loop is not loop:
            for client in self._opened.clients.values():
                background_loop.keep(client)
            self._opened.loop, self._opened.clients = loop, {}
        clients = self._opened.clients
        if (proxy, streams) not in clients:
            # kept as long as they are used: a new one is a sign that the server may be another (Transport.check)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            clients[proxy, streams] = httpx.AsyncClient(
                transport=NoReasonPhrase(proxy=proxy, limits=limits),  # a transport of our own: httpx reads no proxies
                timeout=httpx.Timeout(self._timeout, connect=min(CONNECT, self._timeout)),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=False,
            )
        return clients[proxy, streams]

    async def aclose(self) -> None:
        """Close them; a later request opens new ones."""
        loop, clients = self._opened.loop, self._opened.clients
        self._opened.loop, self._opened.clients = None, {}
        for client in clients.values():
            if loop is asyncio.get_running_loop():
                await client.aclose()
            else:
                background_loop.keep(client)


def _let_go(opened: _Opened) -> None:
    """What a client that was dropped, not closed, has open: collected as it is, it would warn of each connection that
    its server has left."""
    for client in opened.clients.values():
        background_loop.close(opened.loop, client.aclose, client)
