"""The fault campaign: under every fault the right result after bounded retries, or a typed error. Never a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gsi_node.config import GSIConfig
from gsi_node.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    GSIError,
    InvalidLogProb,
    LawMismatch,
    SpecError,
)
from gsi_node.graph.build import compile_gsi
from gsi_node.models.dialects import Dialect
from gsi_node.models.http import Patience, Transport
from gsi_node.models.server import ServerModel
from gsi_node.models.sglang import SGLang
from gsi_node.models.tokens import Tokens
from gsi_node.models.vllm import VLLM
from gsi_node.rewards.table import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.miniature import miniature_tokenizer
from tests.models.serving import KINDS, MODEL, Bigram, Faults, Server

KEY = Key(3, "p", 0, "draft")
LAW = SamplingLaw(temperature=0.7, max_step_tokens=20)
QUICK = Patience(timeout=0.4, attempts=4, first_wait=0.02, longest_wait=0.1)
PREFIX = Prefix("1+2")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("tokenizer")
    miniature_tokenizer().save_pretrained(folder)
    return Tokens(str(folder), "test", template="{problem}")


@pytest.fixture
def server(tokens: Tokens) -> Iterator[Server]:
    with Server(Bigram(tokens.size, tokens.stop_ids)) as running:
        yield running


def reach(
    tokens: Tokens,
    *servers: Server,
    patience: Patience = QUICK,
    dialect: Dialect | None = None,
    context: int | None = None,
) -> ServerModel:
    """A model that was not probed."""
    dialect = dialect or VLLM()
    urls = [server.url + ("/v1" if dialect.kind == "server" else "") for server in servers]
    return ServerModel(Transport(urls, patience=patience), dialect, tokens, model=MODEL, context=context)


def both(model: ServerModel) -> tuple[list[Step], Any]:
    steps = model.sample(PREFIX, 4, KEY, LAW)
    return steps, model.score(PREFIX, steps, LAW)


@pytest.mark.parametrize("fault", [*KINDS, "503"])
def test_a_passing_fault_changes_nothing(fault: str, server: Server, tokens: Tokens) -> None:
    with reach(tokens, server) as model:
        wanted = both(model)
        server.faults = Faults(plan=[fault, fault, "", fault, fault, ""], delay=0.8)
        assert both(model) == wanted
        assert server.requests == 8


LASTING: dict[str, tuple[type[GSIError], str]] = {
    "refuse": (BackendUnavailable, "the connection failed"),
    "reset": (BackendUnavailable, "the connection failed"),
    "delay": (BackendUnavailable, "no answer within 0.4 s"),
    "429": (BackendUnavailable, "status 429"),
    "500": (BackendUnavailable, "status 500"),
    "truncate": (BackendError, "no JSON, or cut off"),
    "nan": (InvalidLogProb, "nan as a log-probability"),
    "missing": (InvalidLogProb, "None as a log-probability"),
    "positive": (InvalidLogProb, "0.5 as a log-probability"),
    "few": (BackendError, "choices for"),
    "404": (SpecError, "status 404"),
    "other": (SpecError, "model 'another' answered for 'bigram'"),
    "context": (ConfigError, "does not fit"),
    "400": (BackendError, "status 400: scripted 400"),
    "403": (ConfigError, "GSI_API_KEY"),
}


@pytest.mark.parametrize("call", ["sample", "score"])
@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_is_a_typed_error_in_bounded_time(
    fault: str, call: str, server: Server, tokens: Tokens
) -> None:
    with reach(tokens, server) as model:
        steps = model.sample(PREFIX, 4, KEY, LAW)
        server.faults = Faults(plan=[fault] * 99, delay=0.8)
        kind, words = LASTING[fault]
        started = time.monotonic()
        with pytest.raises(kind) as raised:
            model.sample(PREFIX, 4, KEY, LAW) if call == "sample" else model.score(PREFIX, steps, LAW)
        assert time.monotonic() - started < 10.0
        message = str(raised.value)
        assert type(raised.value) is kind
        assert server.url in message and words in message
        assert ("sampling 4 steps" if call == "sample" else "scoring") in message  # the request
        assert message.rstrip().rsplit(". ", 1)[-1]  # the fix
        assert server.requests <= 1 + QUICK.attempts


@pytest.mark.parametrize("fault", ["refuse", "reset", "500", "truncate"])
def test_sglang_survives_too(fault: str, server: Server, tokens: Tokens) -> None:
    with reach(tokens, server, dialect=SGLang()) as model:
        wanted = both(model)
        server.faults = Faults(plan=[fault, "", fault, ""])
        assert both(model) == wanted


def test_a_server_that_asks_for_more_patience_than_there_is_is_given_up(server: Server, tokens: Tokens) -> None:
    patience = Patience(timeout=1.0, attempts=4, longest_retry_after=0.01)
    with reach(tokens, server, patience=patience) as model:
        server.faults = Faults(plan=["429"] * 9)
        with pytest.raises(BackendUnavailable, match="attempt 1 of 4"):
            model.sample(PREFIX, 1, KEY, LAW)


def test_a_server_dies_and_comes_back_after_five_seconds(server: Server, tokens: Tokens) -> None:
    with reach(tokens, server, patience=Patience(timeout=2.0)) as model:
        wanted = both(model)
        server.alive = False
        threading.Timer(5.0, lambda: setattr(server, "alive", True)).start()
        assert both(model) == wanted


def test_replicas_share_the_load_and_one_that_fails_is_set_aside(tokens: Tokens) -> None:
    bigram = Bigram(tokens.size, tokens.stop_ids)
    with Server(bigram) as first, Server(bigram) as second, reach(tokens, first, second) as model:
        wanted = both(model)
        for server in (first, second):
            server.faults = Faults(rate=1.0, kinds=("delay",), delay=0.1)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: model.sample(PREFIX, 1, Key(i, "p", 0, "draft"), LAW), range(16)))
        assert min(first.requests, second.requests) >= 4
        first.alive, before = False, first.requests
        for _ in range(3):
            assert both(model) == wanted
        assert first.requests == before
        assert model.transport.replicas[0].rest > 0.0
        first.alive = True
        deadline = time.monotonic() + 10.0
        while first.requests == before and time.monotonic() < deadline:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda i: model.sample(PREFIX, 1, KEY, LAW), range(4)))
        assert first.requests > before


def test_a_trickling_server_cannot_hang_a_request(server: Server, tokens: Tokens) -> None:
    server.faults = Faults(rate=1.0, kinds=("trickle",))
    with reach(tokens, server, patience=Patience(timeout=0.3, attempts=2)) as model:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="no answer within"):
            model.sample(PREFIX, 1, KEY, LAW)
        assert time.monotonic() - started < 5.0


def solve(tokens: Tokens, draft: Server, base: Server, workers: int, problems: Sequence[str]) -> list[Any]:
    """Token ids, sources and log-ratios of every step of every solve."""
    patience = Patience(timeout=1.0, attempts=12, first_wait=0.01, longest_wait=0.1)
    config = GSIConfig(n=2, beta=4.0, threshold=0.2, max_steps=2, max_step_tokens=6, max_log_ratio_error=9.0)
    reward = TableReward(lambda prefix, step: 1.0 / (1 + len(step.token_ids)), name="short")
    with reach(tokens, draft, patience=patience) as small, reach(tokens, base, patience=patience) as large:
        small.top_k = large.top_k = 4
        graph = compile_gsi(draft=small, base=large, reward=reward, config=config)
        results = graph.batch([{"problem": problem} for problem in problems], {"max_concurrency": workers})
    return [
        [(s["token_ids"], s["source"], s["log_ratio"], s["log_ratio_error"]) for s in result["steps"]]
        for result in results
    ]


@pytest.mark.slow
def test_two_hundred_solves_with_a_fifth_of_all_requests_failing(tokens: Tokens) -> None:
    """The same token ids, sources and numbers as without faults."""
    problems = [f"{i}+1" for i in range(200)]
    draft_model = Bigram(tokens.size, tokens.stop_ids, seed=1)
    base_model = Bigram(tokens.size, tokens.stop_ids, seed=1, spread=2.05)
    with Server(draft_model) as draft, Server(base_model) as base:
        wanted = solve(tokens, draft, base, 16, problems)
        for server in (draft, base):
            server.faults = Faults(rate=0.2, delay=1.2)
        found = solve(tokens, draft, base, 16, problems)
        happened = draft.faults.happened + base.faults.happened
    assert found == wanted
    assert {kind for steps in wanted for _, kind, _, _ in steps} == {"draft", "base"}
    failed = sum(n for kind, n in happened.items() if kind)
    assert set(KINDS) <= set(happened)
    assert 0.15 <= failed / happened.total() <= 0.25


def test_a_bound_beyond_the_tolerance_refuses_the_step(server: Server, tokens: Tokens) -> None:
    config = GSIConfig(n=2, max_step_tokens=10, max_log_ratio_error=1e-6)
    reward = TableReward(lambda prefix, step: 0.5, name="half")
    with reach(tokens, server) as model:
        graph = compile_gsi(draft=model, base=model, reward=reward, config=config)
        with pytest.raises(LawMismatch, match="max_log_ratio_error is 1e-06"):
            graph.invoke({"problem": "1+2"})
        exact = config.model_copy(update={"temperature": 1.0, "max_steps": 2})
        out = compile_gsi(draft=model, base=model, reward=reward, config=exact).invoke({"problem": "1+2"})
    assert {step["log_ratio_error"] for step in out["steps"]} == {0.0}
    assert all(abs(step["log_ratio"]) < 1e-9 for step in out["steps"])
