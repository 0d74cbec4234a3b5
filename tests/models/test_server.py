"""Models behind servers: the contract, exact numbers, what is asked, what the probe finds. A bigram is the oracle."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, LawMismatch, SpecError, VocabularyMismatch
from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.probe import connect
from gsi_node.models.servers.reach import Reach
from gsi_node.specs.load import load_model
from gsi_node.testing.models import CHECKS
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.miniature import Miniatures, miniature_tokenizer
from tests.models import contract
from tests.models.serving import MODEL, Bigram, Server

KEY = Key(3, "p", 0, "draft")
LAW = SamplingLaw(temperature=0.7, max_step_tokens=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tokenizer")
    miniature_tokenizer().save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def bigram(folder: Path) -> Bigram:
    tokens = Tokens.of_folder(str(folder), "test")
    return Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids)


@pytest.fixture
def server(bigram: Bigram, folder: Path) -> Iterator[Server]:
    with Server(bigram, folder=str(folder)) as running:
        yield running


def reach(server: Server, kind: str = "server", **options: Any) -> ServerModel:
    url = server.url + ("/v1" if kind == "server" else "")
    asked = {name: options.pop(name) for name in ("attempts", "timeout", "api_key_env") if name in options}
    how = Reach(**{"attempts": 3, "timeout": 10.0, **asked})
    return connect(kind, [url], MODEL if kind == "server" else "", reach=how, **options)


@pytest.mark.parametrize("kind", ["server", "processed", "sglang", "server-T1"])
def test_contract(kind: str, bigram: Bigram, folder: Path, miniatures: Miniatures) -> None:
    with (
        Server(bigram, folder=str(folder), processed=kind == "processed") as server,
        reach(server, "sglang" if kind == "sglang" else "server") as model,
    ):
        law = SamplingLaw(temperature=1.0 if kind == "server-T1" else 0.7, max_step_tokens=24)
        tolerance = 0.1 if kind == "processed" else 1e-9  # there the scorer's certified error stands between the two
        backend = contract.Backend(kind, lambda _: model, tolerance, law)  # it keeps nothing between requests
        for check in CHECKS:
            check(backend.subject(miniatures))
        assert model.reported == ("processed" if kind == "processed" else "raw")


@pytest.mark.parametrize("kind", ["server", "sglang"])
@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0])
def test_numbers_are_within_the_bound_of_the_exact_law(
    kind: str, temperature: float, server: Server, bigram: Bigram
) -> None:
    law = replace(LAW, temperature=temperature)
    with reach(server, kind) as model:
        prefix = Prefix("1+2")
        steps = model.sample(prefix, 16, KEY, law)
        ids = model.tokens.prefix_ids(prefix)
        for step, score in zip(steps, model.score(prefix, steps, law), strict=True):
            exact = bigram.exact(ids, step.token_ids, temperature)
            assert abs(step.log_prob - exact) <= step.log_prob_error + 1e-9
            assert abs(score.log_prob - exact) <= score.error + 1e-9
            assert (score.error == 0.0) == (temperature == 1.0)
            assert score.error < 0.1 * len(step.token_ids)


async def test_async_gives_what_sync_gives(server: Server) -> None:
    with reach(server) as model:
        steps = await model.asample(Prefix("7"), 4, KEY, LAW)
        assert steps == model.sample(Prefix("7"), 4, KEY, LAW)
        assert await model.ascore(Prefix("7"), steps, LAW) == model.score(Prefix("7"), steps, LAW)


def test_every_sampling_parameter_is_set_in_every_request(server: Server) -> None:
    with reach(server) as model:
        model.score(Prefix("7"), model.sample(Prefix("7"), 4, KEY, LAW), LAW)
    sampled, scored = server.bodies[-2:]
    for body in (sampled, scored):
        assert body["top_k"] == -1 and body["top_p"] == 1.0 and body["min_p"] == 0.0
        assert body["repetition_penalty"] == 1.0 and body["presence_penalty"] == body["frequency_penalty"] == 0.0
        assert body["return_token_ids"] is True and body["stop"] is None
    assert sampled["n"] == 4 and sampled["temperature"] == 0.7 and 0 <= sampled["seed"] < 2**53
    assert set(sampled["stop_token_ids"]) == set(model.step_ends(SamplingLaw()).sure_ids)
    assert all(isinstance(i, int) for i in sampled["prompt"])
    assert scored["prompt_logprobs"] == 20 and scored["seed"] is None


def test_the_probe_says_what_it_found(server: Server) -> None:
    with reach(server) as model:
        text = "; ".join(model.findings)
    for words in (
        "4096 tokens",
        "token ids come back",
        "seeds are honoured",
        "are raw",
        "prompt '<bos><|im_start|>user",
    ):
        assert words in text


@pytest.mark.parametrize("processed", [False, True])
def test_a_model_that_is_sure_of_its_answer_is_asked_elsewhere(processed: bool, bigram: Bigram, folder: Path) -> None:
    """Where every token is certain, log-probabilities with and without temperature are one; found with a real vLLM."""
    tokens = Tokens.of_folder(str(folder), "test")
    sure, certain = Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids), tokens.prefix_ids(Prefix("1"))[-1]
    last = sure.log_p.copy()
    last[certain] = -60.0
    last[certain, tokens.step_ends(SamplingLaw()).sure_ids[0]] = 0.0
    sure.log_p, sure.order = last, np.argsort(-last, axis=-1, kind="stable")
    with Server(sure, folder=str(folder), processed=processed) as server, reach(server) as model:
        assert model.reported == ("processed" if processed else "raw")


def test_a_server_that_ignores_seeds_is_noticed(server: Server) -> None:
    server.seeded = False
    with reach(server) as model:
        assert "seeds are NOT honoured: a run cannot be repeated exactly" in model.findings


def test_a_llama_like_server_samples_but_never_scores(bigram: Bigram, folder: Path) -> None:
    with Server(bigram, folder=str(folder), llama=True) as server, reach(server) as model:
        steps = model.sample(Prefix("7"), 4, KEY, LAW)
        assert len(steps) == 4
        with pytest.raises(LawMismatch, match="cannot score given steps"):
            model.score(Prefix("7"), steps, LAW)
        with pytest.raises(LawMismatch, match="fallback"):
            model.check_ratio(LAW)


def test_a_scorer_that_is_another_model_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Bigram(len(server.model.log_p), (6, 7), seed=9)
    monkeypatch.setattr(server, "_given", lambda prompt, k: Server._given(_with(server, other), prompt, k))
    with pytest.raises(BackendError, match="scores differ from its sampler"):
        reach(server)


def _with(server: Server, model: Bigram) -> Any:
    class Other:
        pass

    other = Other()
    other.model = model  # type: ignore[attr-defined]
    return other


def test_another_tokenizer_is_refused(server: Server) -> None:
    server.tokenize = lambda text: [1, 2, 3]
    with pytest.raises(VocabularyMismatch, match=r"\?tokenizer=FOLDER"):
        reach(server)
    codec = Tokens.of_folder(server.folder, "test").codec
    server.tokenize = lambda text: list(codec.encode_marked(text))
    with reach(server) as model:
        assert "its tokenizer encodes as the files given" in model.findings


def test_laws_that_no_server_knows_are_refused(server: Server) -> None:
    with reach(server) as model:
        with pytest.raises(LawMismatch, match="temperature is 1.2"):
            model.supports(SamplingLaw(temperature=1.2))
        with pytest.raises(LawMismatch, match="nucleus"):
            model.supports(SamplingLaw(top_p=0.9))


def test_the_context_bounds_a_step_and_says_so(server: Server) -> None:
    server.context = 40
    with reach(server) as model:
        ids = len(model.tokens.prefix_ids(Prefix("1")))
        assert max(len(s.token_ids) for s in model.sample(Prefix("1"), 8, KEY, LAW)) <= 40 - 1 - ids
        with pytest.raises(ConfigError, match="context ends at 40"):
            model.sample(Prefix("1" * 50), 1, KEY, LAW)
        model.context = None
        with pytest.raises(ConfigError, match="maximum context length"):
            model.sample(Prefix("1" * 50), 1, KEY, LAW)


def test_templates_and_system_prompts(folder: Path) -> None:
    raw = Tokens.of_folder(str(folder), "t", PromptSettings(template="Q: {problem}\nA:<|im_end|>"))
    assert raw.codec.decode(raw.prefix_ids(Prefix("1+1 <eos>"))) == "Q: 1+1 <eos>\nA:<|im_end|>"
    assert 3 not in raw.prefix_ids(Prefix("1+1 <eos>"))  # the user's text opens no control token
    system = Tokens.of_folder(str(folder), "t", PromptSettings(system_prompt="Be kind."))
    assert "<|im_start|>system\nBe kind.<|im_end|>" in system.codec.decode(system.prefix_ids(Prefix("1")))
    with pytest.raises(ConfigError, match="write it once"):
        Tokens.of_folder(str(folder), "t", PromptSettings(template="no slot"))


def test_specs_reach_servers_and_replicas(server: Server, bigram: Bigram, folder: Path) -> None:
    with Server(bigram, folder=str(folder)) as second:
        spec = f"server:{server.url}/v1#{MODEL}?tokenizer={folder}&attempts=3 | {second.url}/v1#{MODEL}"
        model = load_model(spec)
        assert isinstance(model, ServerModel) and len(model.transport.replicas) == 2
        model.close()
    with pytest.raises(SpecError, match="serves no model 'other'; it serves bigram"):
        load_model(f"server:{server.url}/v1#other?attempts=1")
    with pytest.raises(SpecError, match="one kind and serve one model"):
        load_model(f"server:{server.url}/v1#a|{server.url}/v1#b")
    with pytest.raises(SpecError, match="no URL"):
        load_model("server:nonsense#m")
    with pytest.raises(SpecError, match="never in the address"):
        load_model("server:http://me:secret@127.0.0.1:1/v1#m")


def test_keys_come_from_the_environment_and_nothing_is_logged(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-123")
    with caplog.at_level(logging.WARNING), reach(server, api_key_env="MY_KEY") as model:
        server.faults.plan = ["500", "reset"]
        model.sample(Prefix("a secret problem"), 2, KEY, LAW)
        server.faults.plan = ["401"]
        with pytest.raises(ConfigError, match="environment variable MY_KEY") as refused:
            model.sample(Prefix("a secret problem"), 2, KEY, LAW)
    assert server.headers[-1]["Authorization"] == "Bearer sesame-123"
    assert "sesame" not in caplog.text + str(refused.value)
    assert "secret problem" not in caplog.text + str(refused.value)


def test_nobody_there() -> None:
    with pytest.raises(BackendUnavailable, match=r"asking what it serves: the connection failed.*Start the server"):
        connect("server", ["http://127.0.0.1:9/v1"], "m", reach=Reach(attempts=2))
