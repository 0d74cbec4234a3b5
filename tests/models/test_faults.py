"""The fault campaign: under every fault the right result after bounded retries, or a typed error. Never a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

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
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.sglang import SGLang
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import Ends, Key, SamplingLaw
from tests.miniature import miniature_tokenizer
from tests.models.campaign import (
    FINAL,
    KEY,
    LAW,
    NAMES,
    NO_STREAM,
    NUMBERS,
    ONE,
    PREFIX,
    QUICK,
    both,
    by_ids,
    chat,
    reach,
    solve_chats,
    solve_twice,
)
from tests.models.hostile import bomb
from tests.models.serving import KINDS, Bigram, Faults, Server


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("tokenizer")
    miniature_tokenizer().save_pretrained(folder)
    return Tokens.of_folder(str(folder), "test", PromptSettings(template="{problem}"))


@pytest.fixture
def server(tokens: Tokens) -> Iterator[Server]:
    with Server(Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids)) as running:
        yield running


@pytest.mark.parametrize("fault", [*KINDS, "503", "bomb", "deep", "endless", "digits", "chunks", "head", "infinite"])
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
    "infinite": (InvalidLogProb, "inf as a log-probability"),
    "boolean": (InvalidLogProb, "False as a log-probability"),
    "trickle": (BackendUnavailable, "no answer within 0.4 s"),
    "endless": (BackendError, "bytes, where what was asked for takes fewer"),
    "bomb": (BackendError, "bytes when decompressed, where what was asked for takes fewer"),
    "encoded": (BackendError, "encoded as 'br', which was not asked for"),
    "deep": (BackendError, "nested too deep"),
    "digits": (BackendError, "no JSON, or cut off"),
    "surrogate": (BackendError, "lone surrogate"),
    "escape": (BackendUnavailable, r"status 500: \x1b[2J\x1b]0;x\x07"),
    "chunks": (BackendUnavailable, "the connection failed"),
    "head": (BackendUnavailable, "the connection failed"),
    "204": (BackendError, "status 204"),
    "redirect": (SpecError, "status 307, a redirect"),
    "few": (BackendError, "choices for"),
    "404": (SpecError, "status 404"),
    "other": (SpecError, "model 'another' answered for 'bigram'"),
    "context": (ConfigError, "does not fit"),
    "400": (BackendError, "status 400: scripted 400"),
    "403": (ConfigError, "GSI_API_KEY"),
}


def test_the_campaign_prints_every_fault() -> None:
    assert set(NAMES) == set(LASTING) and set(FINAL) < set(NAMES)


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


IDS: dict[str, tuple[type[GSIError], str]] = {
    **LASTING,
    "missing": (BackendError, "another shape than expected"),
    "boolean": (BackendError, "type bool"),
    "few": (BackendError, "of shape"),
}


@pytest.mark.parametrize("fault", IDS)
def test_scoring_by_ids_survives_too(fault: str, server: Server, tokens: Tokens) -> None:
    with by_ids(reach(tokens, server), server) as model:
        steps = model.sample(PREFIX, 1, KEY, ONE)
        wanted = model.score(PREFIX, steps, ONE)
        if fault not in FINAL:
            server.faults = Faults(plan=[fault, fault, ""], delay=0.8)
            assert model.score(PREFIX, steps, ONE) == wanted
        kind, words = IDS[fault]
        server.faults, before, started = Faults(plan=[fault] * 99, delay=0.8), server.requests, time.monotonic()
        with pytest.raises(kind) as raised:
            model.score(PREFIX, steps, ONE)
        assert time.monotonic() - started < 10.0 and server.requests - before <= QUICK.attempts
        message = str(raised.value)
        assert type(raised.value) is kind and server.url in message and words in message and "by ids" in message
        assert model.reads_likely  # a fault is no null answer


CHATS = [fault for fault in LASTING if fault not in NUMBERS]
ENDS: dict[bool, dict[str, tuple[type[GSIError], str]]] = {
    False: {**LASTING, "few": (BackendError, "broke off")},
    True: {
        **LASTING,
        **dict.fromkeys(NO_STREAM, (BackendError, "no event came")),
        "few": (BackendError, "broke off"),
        "bomb": (BackendError, "encoded as 'gzip', which was not asked for"),
        "truncate": (BackendUnavailable, "the connection failed"),
    },
}
"""Of a chat endpoint, by whether it streams."""


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("fault", CHATS)
def test_a_chat_endpoint_survives_too(fault: str, streams: bool, server: Server) -> None:
    bomb()  # takes its time, once
    with chat(server, streams=streams) as model:
        law = SamplingLaw(ends=Ends(()))
        wanted = model.sample(PREFIX, 2, KEY, law)
        if fault not in FINAL and not (streams and fault in NO_STREAM):
            server.faults = Faults(plan=[fault, "", fault, "", ""], delay=0.8)
            assert model.sample(PREFIX, 2, KEY, law) == wanted
        kind, words = ENDS[streams][fault]
        server.faults, before, started = Faults(plan=[fault] * 99, delay=0.8), server.requests, time.monotonic()
        with pytest.raises(kind) as raised:
            model.sample(PREFIX, 2, KEY, law)
        assert time.monotonic() - started < 10.0 and server.requests - before <= 2 * QUICK.attempts
        message = str(raised.value)
        assert type(raised.value) is kind and server.url in message and words in message
        assert "sampling 2 steps" in message and message.rstrip().rsplit(". ", 1)[-1]


def test_solves_by_chat_endpoints_with_a_fifth_of_all_requests_failing() -> None:
    wanted, none = solve_chats(0.0)
    found, happened = solve_chats(0.2)
    assert found == wanted and {source for steps in wanted for _, source in steps} == {"draft", "base"}
    failed = sum(n for kind, n in happened.items() if kind)
    assert not any(none[kind] for kind in none if kind) and 0.15 <= failed / happened.total() <= 0.25


@pytest.mark.parametrize("fault", ["refuse", "reset", "500", "truncate"])
def test_sglang_survives_too(fault: str, server: Server, tokens: Tokens) -> None:
    with reach(tokens, server, dialect=SGLang()) as model:
        wanted = both(model)
        server.faults = Faults(plan=[fault, "", fault, ""])
        assert both(model) == wanted


def test_a_server_that_asks_for_more_patience_than_there_is_is_given_up(server: Server, tokens: Tokens) -> None:
    patience = Reach(timeout=1.0, attempts=4, longest_retry_after=0.01)
    with reach(tokens, server, patience=patience) as model:
        server.faults = Faults(plan=["429"] * 9)
        with pytest.raises(BackendUnavailable, match="attempt 1 of 4"):
            model.sample(PREFIX, 1, KEY, LAW)


def test_a_server_dies_and_comes_back_after_five_seconds(server: Server, tokens: Tokens) -> None:
    with reach(tokens, server, patience=Reach(timeout=2.0)) as model:
        wanted = both(model)
        server.alive = False
        threading.Timer(5.0, lambda: setattr(server, "alive", True)).start()
        assert both(model) == wanted


def test_replicas_share_the_load_and_one_that_fails_is_set_aside(tokens: Tokens) -> None:
    bigram = Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids)
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
    with reach(tokens, server, patience=Reach(timeout=0.3, attempts=2)) as model:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="no answer within"):
            model.sample(PREFIX, 1, KEY, LAW)
        assert time.monotonic() - started < 5.0


@pytest.mark.slow
def test_two_hundred_solves_with_a_fifth_of_all_requests_failing(tokens: Tokens) -> None:
    """The same token ids, sources and numbers as without faults."""
    wanted, found, happened = solve_twice(tokens, 200)
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
