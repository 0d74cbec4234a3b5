"""Servers of both spellings (tests/models/spellings.py), for the tests of step ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gsi_node.models.servers.model import ServerModel
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from tests.models.ends_world import Open, model_of
from tests.models.serving import Bigram, Server
from tests.models.spellings import SPELLINGS, bigram_of, folder_of


@pytest.fixture(scope="module")
def spellings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Bigram]]:
    found = {}
    for name in SPELLINGS:
        folder = folder_of(name, tmp_path_factory.mktemp(name))
        found[name] = folder, bigram_of(Tokens.of_folder(str(folder), name, PromptSettings(template="{problem}")))
    return found


@pytest.fixture
def open_model(spellings: dict[str, tuple[Path, Bigram]]) -> Iterator[Open]:
    """A server of a spelling, and the model behind it."""
    with ExitStack() as stack:

        def opened(
            kind: str = "server", spelling: str = "byte-level", stops: bool = True, **server: Any
        ) -> tuple[Server, ServerModel]:
            folder, bigram = spellings[spelling]
            running = stack.enter_context(Server(bigram, folder=str(folder), **server))
            running.stops = stops
            return running, stack.enter_context(model_of(kind, running))

        yield opened
