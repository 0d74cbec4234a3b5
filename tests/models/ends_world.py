"""Servers whose tokenizers write "\\n\\n" as two tokens, rules of step ends, and an oracle that searches for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.probe import connect
from gsi_node.models.servers.reach import Reach
from gsi_node.step.endings import step_ends
from gsi_node.text.prompt import PromptSettings
from gsi_node.types import Ends, Ids, Key, Prefix, SamplingLaw
from tests.models.serving import MODEL, Server

KEY = Key(3, "p", 0, "draft")
PREFIX = Prefix("1+2")
LIMIT = 24
RULES: dict[str, Any] = {"paragraph": "paragraph", "line": "line", "tokens:3": "tokens:3", "list": ("\n#", "</step>")}
KINDS = ("server", "sglang")
Open = Callable[..., tuple[Server, ServerModel]]


def law_of(rule: str, temperature: float = 0.7) -> SamplingLaw:
    ends, tokens = step_ends(RULES[rule])
    return SamplingLaw(temperature, max_step_tokens=tokens or LIMIT, ends=ends)


def model_of(kind: str, *servers: Server, **how: Any) -> ServerModel:
    urls = [server.url + ("/v1" if kind == "server" else "") for server in servers]
    reach = Reach(**{"attempts": 3, "timeout": 20.0, "first_wait": 0.01, **how})
    prompt = PromptSettings(template="{problem}")
    return connect(kind, urls, MODEL if kind == "server" else "", prompt=prompt, reach=reach)


def written(model: ServerModel, ids: Ids) -> bytes:
    return b"".join(model.tokens.bytes_of[i] for i in ids)


def holds(text: bytes, ends: Ends) -> bool:
    """Whether a step's bytes hold an end, by searching for it."""
    blank = len(text) - len(text.lstrip(b" \t\n\r\v\f")) if ends.after_text else 0
    places = [(text.find(end.encode(), max(0, blank + 1 - len(end.encode()))), end) for end in ends.strings]
    return (blank < len(text) or not ends.after_text) and any(place >= 0 for place, _ in places)


def ended(model: ServerModel, ids: Ids, ends: Ends) -> bool:
    return ids[-1] in model.eos_ids or holds(written(model, ids), ends)


def streamed(model: ServerModel, patch: pytest.MonkeyPatch, yes: bool) -> None:
    patch.setattr(model, "streams", lambda ends: yes)
