"""Who may come in: an ASGI middleware before every route, so that nothing is read or told before it is passed.

A web page can make its visitor's browser send requests to this machine, also under a name of its own that it points
here (DNS rebinding). Hence the allow-list of hosts, no CORS headers, and no request that carries an Origin: browsers
are no clients of this service. Programs send neither a foreign Host nor an Origin.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gsi_node.errors import ConfigError

KEY = "GSI_API_KEY"
PROBE, METRICS = "/health", "/metrics"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+)(?::[0-9]{1,5})?")


def read_key(environment: Mapping[str, str], file: Path | None = None) -> str | None:
    """The key that clients must send, of the environment or of a file; None where neither gives one. ConfigError,
    without the key, where no Authorization header could carry it, and where both give one."""
    key = environment.get(KEY)
    if file is None:
        return None if key is None else _sendable(key, KEY)
    if key is not None:
        raise ConfigError(f"--key-file and {KEY} give a key each: leave one of them out")
    return key_of(file, "--key-file")


def key_of(file: Path, option: str) -> str:
    """The key that a file holds, without a line break at its end. ConfigError where it holds none."""
    try:
        key = file.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        told = (error.strerror or error) if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigError(f"{option} {file}: {told}") from error
    return _sendable(key, f"{option} {file}")


def _sendable(key: str, place: str) -> str:
    if not key:
        raise ConfigError(f"{place} is empty: give it a value, or leave it out to serve without a key")
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigError(f"{place} holds a space, a control character or a non-ASCII letter, which no header carries")
    return key


def host_name(host: str) -> str | None:
    """The name or address of a Host header, without its port, in one spelling; None where it is no host."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name = found[1].lower().removesuffix(".")
    try:
        return ip_address(name.strip("[]")).compressed
    except ValueError:
        return None if name.startswith("[") else name or None


def is_loopback(name: str) -> bool:
    """Whether a name or address means this machine alone."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@dataclass(frozen=True, slots=True)
class Door:
    """key: the bearer token that every request must carry; None lets everybody in. hosts: what a request's Host may
    name besides loopback and the address at which the request arrived. metrics_key: the token of /metrics instead.

    Whoever shows no token at all is told at /health that the service answers, and nothing else.
    """

    key: str | None
    hosts: frozenset[str] = frozenset()
    metrics_key: str | None = None

    def answer(self, asked: str, headers: Headers, arrived_at: str) -> Response | None:
        """What a request gets that may not come in; None if it may. asked: its method and path. arrived_at: this
        machine's address of the connection."""
        host = headers.get("host", "")
        name = host_name(host)
        if name is None or not (is_loopback(name) or name in self.hosts or name == arrived_at):
            return refuse(421, f"this service is not called {host[:80]!r}: start it with --allowed-host NAME if it is")
        if "origin" in headers:
            return refuse(403, "requests of web pages are not answered: leave the Origin header out")
        of_metrics = self.metrics_key is not None and asked.endswith(f" {METRICS}")
        key = self.metrics_key if of_metrics else self.key
        if key is None:
            return None
        if asked == f"GET {PROBE}" and "authorization" not in headers:
            return JSONResponse({"status": "ok"})
        sent = headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(sent, f"Bearer {key}".encode("latin-1")):
            needed = "the one of --metrics-key-file" if of_metrics else f"set {KEY} to the service's"
            return refuse(401, f"a key is needed: {needed}", {"WWW-Authenticate": "Bearer"})
        return None


class Guard:
    """The door before an application."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked, arrived_at = f"{scope['method']} {scope['path']}", (scope.get("server") or ("",))[0]
            answer = self._door.answer(asked, Headers(scope=scope), arrived_at)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def refuse(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = "RequestRefused",
    param: str | None = None,
    code: str | None = None,
    fingerprint: str | None = None,
) -> JSONResponse:
    """An answer that says what is wrong, in the form that OpenAI's clients read. kind: the error's type, of
    gsi_node.errors where the model refused. param: the field of the body to blame."""
    error = {"error": {"type": kind, "message": message, "param": param, "code": code}}
    known = {} if fingerprint is None else {"fingerprint": fingerprint}
    return JSONResponse({**error, **known}, status_code=status, headers=headers)
