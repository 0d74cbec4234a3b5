"""Servers of both spellings (tests/models/spellings.py), for the tests of step ends; and those that score by ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gsi_node.models.servers.model import ServerModel
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import SamplingLaw
from tests.miniature import miniature_tokenizer
from tests.models.ends_world import Open, model_of
from tests.models.ids_world import Start
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


@pytest.fixture(scope="module")
def ids_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tokenizer")
    miniature_tokenizer().save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def ids_bigrams(ids_folder: Path) -> list[Bigram]:
    """A base, and a draft like it."""
    tokens = Tokens.of_folder(str(ids_folder), "test")
    ends = tokens.step_ends(SamplingLaw()).sure_ids
    return [Bigram(tokens.size, ends, seed=1, spread=spread) for spread in (4.0, 3.9)]


@pytest.fixture
def start_by_ids(ids_bigrams: list[Bigram], ids_folder: Path) -> Iterator[Start]:
    """Starts a server that scores by ids; it ends with the test."""
    with ExitStack() as stack:

        def started(model: Bigram = ids_bigrams[0], **about: Any) -> Server:
            server = stack.enter_context(Server(model, folder=str(ids_folder)))
            for name, value in {"on": True, **about}.items():
                setattr(server.generating, name, value)
            return server

        yield started
