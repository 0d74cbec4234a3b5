"""Replicas must be equal: each is looked at, at start-up and whenever it comes back. Every server is a bigram."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gsi_node.errors import BackendError, BackendUnavailable, GSIError, LawMismatch, SpecError
from gsi_node.models.servers.model import ServerModel
from gsi_node.specs.load import load_model
from gsi_node.text.tokens import Tokens
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.miniature import miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server

LAW = SamplingLaw(temperature=0.7, max_step_tokens=20)
KEY = Key(3, "p", 0, "draft")
PREFIX = Prefix("1+2")
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tokenizer")
    miniature_tokenizer().save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def bigrams(folder: Path) -> tuple[Bigram, Bigram]:
    """The model, and another one."""
    tokens = Tokens.of_folder(str(folder), "test")
    return Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids), Bigram(
        tokens.size, tokens.step_ends(SamplingLaw()).sure_ids, seed=9
    )


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:
        yield lambda model, **options: stack.enter_context(Server(model, folder=str(folder), **options))


def spec(kind: str, *urls: str, options: str = "attempts=4&timeout=5") -> str:
    path, name = ("/v1", f"#{MODEL}") if kind == "server" else ("", "")
    first, *others = (f"{kind}:{url}{path}{name}" for url in urls)
    return "|".join([f"{first}?{options}", *others])


def reach(kind: str, *urls: str, options: str = "attempts=4&timeout=5") -> ServerModel:
    model = load_model(spec(kind, *urls, options=options))
    assert isinstance(model, ServerModel)
    return model


def ask(model: ServerModel, times: int = 1) -> list[Any]:
    return [(steps := model.sample(PREFIX, 4, KEY, LAW), model.score(PREFIX, steps, LAW)) for _ in range(times)]


@pytest.mark.parametrize("kind", ["server", "sglang"])
def test_a_replica_that_is_another_model_is_refused(kind: str, start: Start, bigrams: tuple[Bigram, Bigram]) -> None:
    first, second = start(bigrams[0]), start(bigrams[1])
    with pytest.raises(BackendError, match=rf"{second.url}\S* gives other log-probabilities of the same steps"):
        load_model(spec(kind, first.url, second.url))


@pytest.mark.parametrize("kind", ["server", "sglang"])
@pytest.mark.parametrize("processed", [False, True])
def test_a_replica_in_another_mode_of_log_probabilities_is_refused(
    kind: str, processed: bool, start: Start, bigrams: tuple[Bigram, Bigram]
) -> None:
    first, second = start(bigrams[0], processed=processed), start(bigrams[0], processed=not processed)
    with pytest.raises(BackendError, match=f"{second.url}.* --logprobs-mode"):
        load_model(spec(kind, first.url, second.url))


def test_a_replica_that_serves_another_name_or_cannot_score_is_refused(
    start: Start, bigrams: tuple[Bigram, Bigram]
) -> None:
    first, second, third = start(bigrams[0]), start(bigrams[0]), start(bigrams[0], llama=True)
    second.served = "other"
    with pytest.raises(SpecError, match=f"{second.url}.* serves no model 'bigram'; it serves other"):
        load_model(spec("server", first.url, second.url))
    with pytest.raises(LawMismatch, match=f"{third.url}.*cannot score"):
        load_model(spec("server", first.url, third.url))


def test_equal_replicas_are_one_model(start: Start, bigrams: tuple[Bigram, Bigram]) -> None:
    one, first, second = start(bigrams[0]), start(bigrams[0]), start(bigrams[0])
    second.context = 300
    with reach("server", one.url) as alone, reach("server", first.url, second.url) as model:
        assert ask(model, 3) == ask(alone, 3)
        assert model.fingerprint == alone.fingerprint
        assert model.context == 300
        assert f"{second.url}/v1 gives the same numbers, and draws the same steps" in model.findings


def test_a_replica_that_is_down_is_looked_at_before_it_is_first_used(
    start: Start, bigrams: tuple[Bigram, Bigram], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(bigrams[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with reach("server", first.url, f"http://127.0.0.1:{port}") as model:
        assert any("CANNOT be reached" in finding for finding in model.findings)
        wanted = ask(model)
        for bigram, fits in ((bigrams[0], True), (bigrams[1], False)):
            with Server(bigram, port=port, folder=first.folder) as second:
                model.transport.replicas[0].set_aside()
                model.transport.replicas[1].resting = 0.0
                if fits:
                    assert ask(model) == wanted and second.requests >= 4  # it was looked at, and used
                else:
                    with pytest.raises(BackendError, match=f"{second.url}.* gives other log-probabilities"):
                        ask(model)


@pytest.mark.parametrize("kind", ["server", "sglang"])
@pytest.mark.parametrize("failing", [True, False])
def test_a_server_that_comes_back_as_another_model_is_noticed(
    kind: str, failing: bool, bigrams: tuple[Bigram, Bigram], folder: Path
) -> None:
    """failing: a request meets the dead server; else its connections are found closed, and nothing fails."""
    with (
        Server(bigrams[0], folder=str(folder)) as server,
        reach(kind, server.url, options="attempts=2&timeout=5") as model,
    ):
        wanted = ask(model)
        for bigram, processed in ((bigrams[0], False), (bigrams[1], False), (bigrams[0], True)):
            server.__exit__()
            if failing:
                with pytest.raises(BackendUnavailable):
                    model.sample(PREFIX, 1, KEY, LAW)
            with Server(bigram, port=server.port, folder=str(folder), processed=processed) as server:
                model.transport.replicas[0].resting = 0.0
                if bigram is bigrams[0] and not processed:
                    assert ask(model) == wanted
                    continue
                message = "logprobs-mode" if processed else "gives other log-probabilities of the same steps"
                for _ in range(2):  # and it is not forgotten
                    with pytest.raises(BackendError, match=message):
                        ask(model)


def test_looking_again_costs_nothing_while_nothing_happens(start: Start, bigrams: tuple[Bigram, Bigram]) -> None:
    server = start(bigrams[0])
    with reach("server", server.url) as model:
        before = server.requests
        ask(model, 5)
        assert server.requests == before + 10


CARDS = [("bigram", "/m", None), ("also", "/m", None), ("tuned", "/adapter", "bigram")]


@pytest.mark.parametrize(
    ("named", "answered", "error"),
    [("bigram", "also", None), ("also", "bigram", None), ("", "bigram", SpecError), ("bigram", "tuned", SpecError)],
)
def test_an_alias_may_answer_and_an_adapter_may_not(
    named: str, answered: str, error: type[GSIError] | None, start: Start, bigrams: tuple[Bigram, Bigram], folder: Path
) -> None:
    server = start(bigrams[0])
    server.listed = [{"id": name, "root": root, "parent": parent} for name, root, parent in CARDS]
    server.served = named or "bigram"
    server.edit = lambda path, answer: {**answer, "model": answered}
    whole = f"server:{server.url}/v1#{named}?attempts=2&tokenizer={folder}"
    if error is not None:
        with pytest.raises(error, match="answered for|name one"):
            load_model(whole)
        return
    with load_model(whole) as model:  # type: ignore[attr-defined]
        assert model.model == named and len(ask(model)) == 1


def test_aliases_of_one_model_need_no_choice(start: Start, bigrams: tuple[Bigram, Bigram], folder: Path) -> None:
    server = start(bigrams[0])
    server.listed = [{"id": name, "root": root, "parent": parent} for name, root, parent in CARDS[:2]]
    with load_model(f"server:{server.url}/v1?attempts=2&tokenizer={folder}") as model:  # type: ignore[attr-defined]
        assert model.model == "bigram"


@pytest.mark.parametrize("path", ["/model_info", "/get_model_info"])
def test_both_names_of_sglangs_page_are_known(path: str, start: Start, bigrams: tuple[Bigram, Bigram]) -> None:
    server = start(bigrams[0])
    server.about_path = path
    with reach("sglang", server.url) as model:
        assert len(ask(model)) == 1
    with pytest.raises(SpecError, match="serves no model 'other'"):
        load_model(f"sglang:{server.url}#other?attempts=2")
    server.about_path = "/elsewhere"
    with pytest.raises(SpecError, match="status 404"):
        load_model(f"sglang:{server.url}?attempts=2")
