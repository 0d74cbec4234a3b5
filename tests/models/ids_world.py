"""Servers that score given steps by ids, the models behind them, and what these asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gsi_node.models.servers.model import ServerModel
from gsi_node.specs.load import load_model
from gsi_node.text.tokens import Tokens
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.models.campaign import LAW
from tests.models.serving import MODEL, Server

KEY = Key(3, "p", 0, "draft")
ONE = replace(LAW, temperature=1.0)
PREFIX = Prefix("1+2")
Start = Callable[..., Server]


def load(*servers: Server, options: str = "attempts=3&timeout=5") -> ServerModel:
    first, *others = (f"server:{server.url}/v1#{MODEL}" for server in servers)
    model = load_model("|".join([f"{first}?{options}", *others]))
    assert isinstance(model, ServerModel)
    return model


def of(server: Server, bodies: list[dict[str, Any]], asked: str) -> list[dict[str, Any]]:
    """Those of the requests that are about a problem; the probe, and the checks of new connections, ask another."""
    ids = list(Tokens.of_folder(server.folder, "test").prefix_ids(Prefix(asked)))
    return [body for body in bodies if (body.get("token_ids") or body["prompt"][0])[: len(ids)] == ids]


def prompts(server: Server, asked: str = "1+2") -> int:
    """How often prompt_logprobs were asked for."""
    return len(of(server, [body for body in server.bodies if "prompt_logprobs" in body], asked))


def by_ids(server: Server) -> list[dict[str, Any]]:
    """What was asked for by ids."""
    return of(server, server.generating.bodies, "1+2")


def drawn(server: Server, law: SamplingLaw = LAW, n: int = 6) -> list[Step]:
    with load(server) as model:
        return model.sample(PREFIX, n, KEY, law)
