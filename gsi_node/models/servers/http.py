"""Asking servers over HTTP: bounded retries, replicas, typed errors. An async client on one loop, with a sync face.

An answer is read inside the attempt, so a broken answer is asked for again like a broken connection. All attempts of a
request share one deadline: a request ends in an answer or in an error that names the server, the request and what to
change. Neither keys nor prompts are logged or written into errors; a server's own words are escaped and cut there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, TypeVar

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from gsi_node.cancel import result_of
from gsi_node.errors import BackendUnavailable, ConfigError, GSIError
from gsi_node.models.servers import answers
from gsi_node.models.servers.answers import Illegible
from gsi_node.models.servers.background import background_loop
from gsi_node.models.servers.connections import CLOSING, Answer, Connections, Take
from gsi_node.models.servers.events import EventReader, EventStream
from gsi_node.models.servers.reach import USUAL, Reach
from gsi_node.models.servers.refusals import late, refused, unreadable
from gsi_node.models.servers.replica import Failed as Failed
from gsi_node.models.servers.replica import Replica
from gsi_node.models.servers.routes import key_in, route_to

T = TypeVar("T")
Exchange = Callable[[Replica], Awaitable[tuple[float, Callable[[], T]]]]  # when its connection was opened, and a reader
_log = logging.getLogger("gsi_node.server")
_LONG = 600  # characters of what went wrong, a server's words among them


class Transport:
    """The replicas of one model. Safe to use from threads and from any event loop, and in a forked child.

    check: asked with the transport of one replica, before a replica that failed is used again, and before an answer
    over a new connection is: raises where it is not what it was, for a server may come back as another.
    """

    def __init__(self, urls: Sequence[str], reach: Reach = USUAL) -> None:
        """Raises SpecError for an address, ConfigError for a key or a proxy that cannot be used; both are read now."""
        self.replicas = [Replica(*route_to(url)) for url in urls]
        self.name = " | ".join(replica.url for replica in self.replicas)
        self._reach = reach
        self._key = key_in(reach.api_key_env)
        self._connections = Connections(self._key, reach.timeout)
        self.check: Callable[[Transport], Awaitable[None]] | None = None
        self._checking = False

    def only(self, replica: Replica, *, timeout: float = inf, attempts: int = 3) -> Transport:
        """This transport for one replica alone, without `check`, over the same connections; close the whole.

        timeout, attempts: at most.
        """
        one, reach = copy(self), self._reach
        one.replicas, one.check = [Replica(replica.url, replica.proxy)], None
        one.name = one.replicas[0].url
        one._reach = replace(reach, timeout=min(timeout, reach.timeout), attempts=min(attempts, reach.attempts))
        return one

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, run on the client's loop; for threads. Raises Cancelled once the caller's run is gone,
        and ends the request then."""
        future = asyncio.run_coroutine_threadsafe(work, background_loop())
        try:
            return result_of(future)
        except BaseException:
            future.cancel()
            raise

    async def join(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, run on the client's loop; cancelled with the awaiting task."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, background_loop()))

    def deadline(self) -> float:
        """When a request that begins now must have ended, by time.monotonic()."""
        return time.monotonic() + self._reach.deadline

    def shown(self, text: str, most: int = 200) -> str:
        """A server's words as they may stand in an error or a log: escaped, cut, without the key."""
        return answers.shown(text, self._key, most)

    async def ask(
        self,
        path: str,
        body: Any,
        read: Callable[[Any], T],
        what: str,
        *,
        entries: int = 0,
        deadline: float | None = None,
        root: bool = False,
    ) -> T:
        """read(the JSON answer to `body` posted to `path`; GET where body is None). what: names the request. root:
        whether the path begins beside /v1.

        `read` runs in a thread, and raises Failed for an answer that cannot be used. entries: how many numbers a right
        answer lists at most; one that takes more bytes than that and 1 MiB is not read. deadline: by time.monotonic(),
        for several requests that share one. Raises BackendUnavailable, BackendError, ConfigError.
        """
        most = answers.BASE + answers.ENTRY * entries
        content = _written(body, f"{self.name}: {what}")

        async def whole(replica: Replica) -> tuple[float, Callable[[], T]]:
            answer = await self._fetch(replica, (replica.root if root else replica.url) + path, content, most)
            return answer.opened, partial(
                self._shaped, lambda: read(answers.read_json(answer.body, answer.encoding, most))
            )

        return await self._until_it_succeeds(whole, what, deadline)

    async def follow(
        self,
        path: str,
        body: Any,
        begin: Callable[[], EventReader[T]],
        what: str,
        *,
        entries: int = 0,
        deadline: float | None = None,
    ) -> T:
        """`ask`, of a server that answers in a stream: begin().result() after its events, and the connection closed
        once `more` wants none. Small events are read at once, large ones in a thread."""
        most = answers.BASE + answers.ENTRY * entries
        content = _written(body, f"{self.name}: {what}")

        async def followed(replica: Replica) -> tuple[float, Callable[[], T]]:
            stream = EventStream(begin(), lambda error: self._refused(*error, path), self._shaped)
            answer = await self._fetch(replica, replica.url + path, content, most, stream.take)
            heard = answer.opened - replica.heard < CLOSING  # so it is the process that it was
            return 0.0 if heard else answer.opened, stream.result

        return await self._until_it_succeeds(followed, what, deadline)

    async def _until_it_succeeds(self, exchange: Exchange[T], what: str, deadline: float | None) -> T:
        reach, started = self._reach, time.monotonic()
        until = started + reach.deadline if deadline is None else deadline
        pause = wait_exponential(multiplier=reach.first_wait) + wait_random(0, reach.first_wait)

        def wait(state: RetryCallState) -> float:
            failed = state.outcome.exception() if state.outcome else None
            return max(
                min(float(pause(state)), reach.longest_wait), failed.after if isinstance(failed, Failed) else 0.0
            )

        retrying = AsyncRetrying(
            stop=stop_after_attempt(reach.attempts) | stop_before_delay(until - started),
            wait=wait,
            retry=retry_if_exception(lambda error: isinstance(error, Failed) and error.again),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    return await self._once(exchange, until)
        except Failed as failed:
            if self._checking and failed.again:  # within an attempt: it fails as the check did, and is tried again
                raise
            tries = retrying.statistics.get("attempt_number", 1)
            spent = time.monotonic() - started
            raise failed.kind(
                f"{self.name}: {what}: {self.shown(failed.problem, _LONG)} (attempt {tries} of {reach.attempts}, "
                f"{spent:.1f} of {until - started:.4g} s). {failed.fix}"
            ) from None  # the cause may quote the server, or the key
        raise AssertionError("tenacity ends in a result or an error")

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        self.wait(self.aclose())

    async def aclose(self) -> None:
        """`close`, on the client's loop."""
        await self._connections.aclose()

    async def _once(self, exchange: Exchange[T], until: float) -> T:
        if self._connections.elsewhere:
            for replica in self.replicas:
                replica.begin_anew()
        started = time.monotonic()
        replica = min(self.replicas, key=lambda r: (max(0.0, r.resting - started), r.outstanding))
        replica.outstanding += 1
        try:
            async with asyncio.timeout(max(0.0, until - started)):
                if replica.checked is None:
                    await self._verify(replica, time.monotonic())
                async with asyncio.timeout(self._reach.timeout):
                    opened, read = await exchange(replica)
                await self._verify(replica, opened)
                async with asyncio.timeout(self._reach.timeout):
                    result = await asyncio.to_thread(read)
        except (Failed, TimeoutError) as error:
            within = min(self._reach.timeout, max(0.0, until - started))
            failed = error if isinstance(error, Failed) else late(f"answer within {within:.3g} s")
            if len(self.replicas) > 1:
                failed.problem = f"{replica.url}: {failed.problem}"
            if failed.down:
                replica.set_aside()
                if len(self.replicas) > 1:
                    said = self.shown(failed.problem, _LONG)
                    _log.warning("%s is set aside for %.1f s: %s", replica.url, replica.rest, said)
            raise failed from None
        finally:
            replica.outstanding -= 1
        replica.rest = replica.resting = 0.0
        replica.heard = time.monotonic()
        return result

    async def _verify(self, replica: Replica, since: float) -> None:
        if (check := self.check) is not None:
            one = self.only(replica, attempts=1)
            one._checking = True
            await replica.verify(lambda: check(one), since)

    async def _fetch(
        self, replica: Replica, url: str, content: bytes | None, most: int, take: Take | None = None
    ) -> Answer:
        """One request; Failed for an answer that has no body to read."""
        try:
            answer = await self._connections.fetch(url, replica.proxy, content, most, take)
        except httpx.TimeoutException as error:
            raise late("connection" if isinstance(error, httpx.ConnectTimeout) else "answer") from error
        except httpx.RequestError as error:
            raise Failed(
                f"the connection failed ({type(error).__name__})",
                BackendUnavailable,
                fix="Start the server, or mend its address in the spec",
                down=True,
            ) from error
        except Illegible as error:
            raise unreadable(error) from error
        if answer.status != 200:
            said = answers.message(answer.body, answer.encoding)
            path = url.removeprefix(replica.url)
            raise self._refused(answer.status, said, path, answers.retry_after(answer.retry_after))
        return answer

    def _shaped(self, read: Callable[[], T]) -> T:
        """read(); Failed for whatever it raises: the one catch-all around every reader."""
        try:
            return read()
        except Illegible as error:
            raise unreadable(error) from error
        except (Failed, GSIError):
            raise
        except Exception as error:
            raise Failed(
                f"the answer has another shape than expected ({type(error).__name__}: {self.shown(str(error), 80)})",
                fix="Check that the server speaks this API, and its version",
            ) from error

    def _refused(self, status: int, words: str, path: str, after: float = 0.0) -> Failed:
        return refused(status, self.shown(words), path, after, self._reach)


def _written(body: Any, what: str) -> bytes | None:
    """A request's body; ConfigError for a text or number that JSON has no place for."""
    if body is None:
        return None
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:  # half of a character, NaN
        raise ConfigError(f"{what}: the request cannot be written as JSON ({type(error).__name__})") from None
