"""Asking servers over HTTP: bounded retries, replicas, typed errors. An async client on one loop, with a sync face.

An answer is read inside the attempt, so a broken answer is asked for again like a broken connection. Every attempt has
a deadline, and the number of attempts is bounded: a request ends in an answer or in an error that names the server,
the request and what to change. Neither keys nor prompts are logged or written into errors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import copy
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, GSIError, SpecError
from gsi_node.models.replica import Failed as Failed
from gsi_node.models.replica import Replica

T = TypeVar("T")
_log = logging.getLogger("gsi_node.server")
_BUSY = (408, 425, 429, 500, 502, 503, 504)
CLOSING = 1.0
"""Seconds a check holds for new connections where the server closes each after its answer: there they are no sign."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Patience:
    """timeout: seconds an attempt may take. attempts: at most. first_wait, longest_wait: seconds between attempts,
    doubled each time. longest_retry_after: seconds; a server that asks for more is given up."""

    timeout: float = 120.0
    attempts: int = 9
    first_wait: float = 0.1
    longest_wait: float = 4.0
    longest_retry_after: float = 60.0


class Transport:
    """The replicas of one model. Safe to use from threads and from any event loop.

    check: asked with the transport of one replica, before a replica that failed is used again, and before an answer
    over a new connection is: raises where it is not what it was, for a server may come back as another.
    """

    def __init__(self, urls: Sequence[str], *, patience: Patience, api_key_env: str = "GSI_API_KEY") -> None:
        self.replicas = [Replica(_checked(url)) for url in urls]
        self.name = " | ".join(replica.url for replica in self.replicas)
        self._patience = patience
        self._key_env = api_key_env
        self._client: httpx.AsyncClient | None = None
        self.check: Callable[[Transport], Awaitable[None]] | None = None

    def only(self, replica: Replica, *, url: str | None = None, timeout: float = inf, attempts: int = 3) -> Transport:
        """This transport for one replica (at `url`) alone, without `check`, over the same connections; close the whole.

        timeout, attempts: at most.
        """
        self._open()
        one, patience = copy(self), self._patience
        one.replicas, one.check = [Replica(url or replica.url)], None
        one.name = one.replicas[0].url
        one._patience = replace(
            patience, timeout=min(timeout, patience.timeout), attempts=min(attempts, patience.attempts)
        )
        return one

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, run on the client's loop; for threads."""
        future = asyncio.run_coroutine_threadsafe(work, _loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def join(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, run on the client's loop; cancelled with the awaiting task."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop()))

    async def ask(self, path: str, body: Any, read: Callable[[Any], T], what: str) -> T:
        """read(the JSON answer to `body` posted to `path`; GET where body is None). what: names the request.

        `read` raises Failed for an answer that cannot be used. Raises BackendUnavailable, BackendError, ConfigError.
        """
        patience, started = self._patience, time.monotonic()
        pause = wait_exponential_jitter(
            max=patience.longest_wait, jitter=patience.first_wait, multiplier=patience.first_wait
        )

        def wait(state: RetryCallState) -> float:
            failed = state.outcome.exception() if state.outcome else None
            return max(float(pause(state)), failed.after if isinstance(failed, Failed) else 0.0)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(patience.attempts),
            wait=wait,
            retry=retry_if_exception(lambda error: isinstance(error, Failed) and error.again),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    return await self._once(path, body, read)
        except Failed as failed:
            tries = retrying.statistics.get("attempt_number", 1)
            spent = time.monotonic() - started
            raise failed.kind(
                f"{self.name}: {what}: {failed.problem} (attempt {tries} of {patience.attempts}, {spent:.1f} s). "
                f"{failed.fix}"
            ) from failed.__cause__
        raise AssertionError("tenacity ends in a result or an error")

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        self.wait(self.aclose())

    async def aclose(self) -> None:
        """`close`, on the client's loop."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _once(self, path: str, body: Any, read: Callable[[Any], T]) -> T:
        now = time.monotonic()
        replica = min(self.replicas, key=lambda r: (max(0.0, r.resting - now), r.outstanding))
        replica.outstanding += 1
        try:
            if replica.checked is None:
                await self._verify(replica, time.monotonic())
            answer, opened = await self._fetch(replica.url, path, body)
            await self._verify(replica, opened)
            result = read(answer)
        except Failed as failed:
            if len(self.replicas) > 1:
                failed.problem = f"{replica.url}: {failed.problem}"
            if failed.down:
                replica.set_aside()
                if len(self.replicas) > 1:
                    _log.warning("%s is set aside for %.1f s: %s", replica.url, replica.rest, failed.problem)
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # `read` met another shape
            if isinstance(error, GSIError):
                raise
            raise Failed(
                f"the answer has another shape than expected ({type(error).__name__}: {error!s:.80})",
                fix="Check that the server speaks this API, and its version",
            ) from error
        finally:
            replica.outstanding -= 1
        replica.rest = replica.resting = 0.0
        return result

    async def _verify(self, replica: Replica, since: float) -> None:
        if (check := self.check) is not None:
            await replica.verify(lambda: check(self.only(replica)), since)

    async def _fetch(self, url: str, path: str, body: Any) -> tuple[Any, float]:
        """One request: the JSON answer, and when its connection was opened (0 where it was open before; see CLOSING).

        Failed for whatever is no JSON answer.
        """
        client, opened = self._open(), 0.0

        async def trace(event: str, info: Any) -> None:
            nonlocal opened
            if event == "connection.connect_tcp.complete":
                opened = time.monotonic()

        key = os.environ.get(self._key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with asyncio.timeout(self._patience.timeout):
                if body is None:
                    answer = await client.get(url + path, headers=headers, extensions={"trace": trace})
                else:
                    answer = await client.post(url + path, json=body, headers=headers, extensions={"trace": trace})
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Failed(
                f"no answer within {self._patience.timeout:g} s",
                BackendUnavailable,
                fix="Raise ?timeout=SECONDS, or look whether the server is overloaded",
                down=True,
            ) from error
        except httpx.TransportError as error:
            raise Failed(
                f"the connection failed ({type(error).__name__})",
                BackendUnavailable,
                fix="Start the server, or mend its address in the spec",
                down=True,
            ) from error
        if answer.status_code != 200:
            raise self._refused(answer, path)
        if answer.headers.get("Connection", "").lower() == "close" or answer.http_version == "HTTP/1.0":
            opened = max(0.0, opened - CLOSING)
        try:
            return answer.json(), opened
        except ValueError as error:
            raise Failed(
                "the answer is no JSON, or cut off",
                fix="Look into the server's log, and at proxies before it",
                down=True,
            ) from error

    def _open(self) -> httpx.AsyncClient:
        """The client of all replicas. Connections are kept as long as they are used: a new one is a sign (`check`)."""
        if self._client is None:
            loopback = all(urlsplit(replica.url).hostname in _LOOPBACK for replica in self.replicas)
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(self._patience.timeout, connect=min(10.0, self._patience.timeout)),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                trust_env=not loopback,
                follow_redirects=False,
            )
        return self._client

    def _refused(self, answer: httpx.Response, path: str) -> Failed:
        """What a status other than 200 means."""
        status, said = answer.status_code, _message(answer)
        if status in _BUSY:
            after = _retry_after(answer.headers.get("Retry-After"))
            again = after <= self._patience.longest_retry_after
            fix = "Send fewer requests at a time, or add replicas" if status == 429 else "Look into the server's log"
            return Failed(f"status {status}{said}", BackendUnavailable, fix=fix, again=again, after=after, down=True)
        if status in (401, 403):
            fix = f"Set the environment variable {self._key_env} to the server's key (?api_key_env=NAME for another)"
            return Failed(f"status {status}: the server wants a key, or another one", ConfigError, fix=fix, again=False)
        if status == 404:
            fix = "Check MODEL and the path in the spec against what the server lists (GET /v1/models)"
            return Failed(f"status 404 for {path}{said}", SpecError, fix=fix, again=False)
        if any(word in said.lower() for word in ("context", "too long", "maximum model length", "max_model_len")):
            fix = "Lower max_steps, max_tokens or max_step_tokens, or start the server with a longer context"
            return Failed(f"the request does not fit{said}", ConfigError, fix=fix, again=False)
        return Failed(f"status {status}{said}", BackendError, fix="Change what the server names", again=False)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError(f"server address {url!r} is no URL; write http://HOST:PORT or https://HOST")
    if parts.username or parts.password or parts.query:
        raise SpecError(f"server address of host {parts.hostname}: give keys in the environment, never in the address")
    return url.rstrip("/")


def _message(answer: httpx.Response) -> str:
    """What the server says, in at most 200 characters; nothing where it is no OpenAI-shaped error."""
    try:
        said = answer.json()
    except ValueError:
        return ""
    for name in ("error", "message"):
        said = said.get(name, said) if isinstance(said, dict) else said
    return f": {' '.join(said.split())[:200]}" if isinstance(said, str) else ""


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header (a number or an HTTP date); 0 where there is none to read."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


class _Loop:
    """The event loop of every client, on a thread of its own; started at first use, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                self._running = asyncio.new_event_loop()
                threading.Thread(target=self._running.run_forever, name="gsi-http", daemon=True).start()
            return self._running


_loop = _Loop()
