"""Servers that stand for one model must be equal: each is looked at, at start-up and whenever it comes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gsi_node.errors import BackendError, BackendUnavailable, SpecError
from gsi_node.models.servers.dialect import Card, Dialect
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.vllm import VLLM

T = TypeVar("T")
_log = logging.getLogger("gsi_node.server")
_ASKING = "asking what it serves"


async def equal(
    transport: Transport, look: Callable[[Transport], Awaitable[T]], same: Callable[[T, T, str], None]
) -> T:
    """What `look` sees at the first replica that can be reached; same(that, what another shows, its address) raises
    where they differ. One that is down is looked at before it is first used, and each again when it comes back.

    Raises BackendUnavailable where none can be reached.
    """
    seen: list[T] = []
    for replica in transport.replicas:
        started = time.monotonic()
        try:
            found = await look(transport.only(replica, attempts=3 if seen else 9))
        except BackendUnavailable as error:
            if not seen and replica is transport.replicas[-1]:
                raise
            replica.set_aside()
            _log.warning("it is looked at before it is first used: %s", error)
            continue
        if seen:
            same(seen[0], found, replica.url)
        seen.append(found)
        replica.checked = started
    kept = seen[0]

    async def again(one: Transport) -> None:
        same(kept, await look(one), one.name)

    transport.check = again
    return kept


async def about(dialect: Dialect, transport: Transport) -> tuple[Card, ...]:
    """The models that a server lists, from the newest path that it knows."""
    for path in dialect.about_paths[:-1]:
        try:
            return await transport.ask(path, None, dialect.about, _ASKING)
        except SpecError:  # 404: an older server
            continue
    return await transport.ask(dialect.about_paths[-1], None, dialect.about, _ASKING)


async def listed(transport: Transport, model: str) -> tuple[Card, frozenset[str]]:
    """The card of `model` from OpenAI's /v1/models, and the names under which it may answer; where there is no such
    page, what the spec says. Raises SpecError where it is not listed."""
    try:
        cards = await transport.ask("/v1/models", None, VLLM().about, _ASKING)
    except BackendUnavailable:
        raise
    except (BackendError, SpecError, Failed) as error:  # 404, 405, 501, or a page of another kind
        if isinstance(error, Failed) and error.down:
            raise
        cards = ()
    card = card_of(cards, model, transport)
    return card, names_of(cards, card)


def card_of(cards: Sequence[Card], model: str, transport: Transport) -> Card:
    """The card of the served name; "" takes the only one. Raises SpecError."""
    if model and not cards:
        return Card(model, None, None)
    found = [card for card in cards if model in ("", card.name)]
    names = ", ".join(card.name for card in cards)
    if not found:
        raise SpecError(f"{transport.name} serves no model {model!r}; it serves {transport.shown(names) or 'none'}")
    if not names_of(cards, found[0]).issuperset(card.name for card in found):
        raise SpecError(f"{transport.name} serves {transport.shown(names)}; name one: …#MODEL")
    if not f"{found[0].name}{found[0].folder}".isprintable():  # names stand in logs and errors from here on
        raise SpecError(
            f"{transport.name} serves a model whose name is no plain text: {transport.shown(repr(found[0]))}"
        )
    return found[0]


def names_of(cards: Sequence[Card], card: Card) -> frozenset[str]:
    """The names of one model: those that a server lists with the same weights. An adapter is no alias of its base."""
    alike = {other.name for other in cards if (other.folder, other.parent) == (card.folder, card.parent)}
    return frozenset({card.name, *alike})
