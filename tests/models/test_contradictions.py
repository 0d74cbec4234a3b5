"""Answers that contradict themselves or the request, and numbers that are none: refused by name. A bigram server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsi_node.errors import BackendError, GSIError, InvalidLogProb
from gsi_node.models.servers.dialect import Dialect, DrawRequest
from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.probe import connect
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.sglang import SGLang
from gsi_node.models.servers.tempered import ROUNDING, TopK
from gsi_node.models.servers.vllm import VLLM
from gsi_node.text.tokens import Tokens
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.miniature import miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server

LAW = SamplingLaw(temperature=0.7, max_step_tokens=20)
KEY = Key(3, "p", 0, "draft")
PREFIX = Prefix("1+2")
Edit = Callable[[Any], Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    target = tmp_path_factory.mktemp("tokenizer")
    miniature_tokenizer().save_pretrained(target)
    tokens = Tokens.of_folder(str(target), "test")
    with Server(Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids), folder=str(target)) as running:
        yield running


@pytest.fixture(scope="module")
def models(server: Server) -> Iterator[dict[str, ServerModel]]:
    reach = Reach(attempts=1, timeout=10.0)
    with (
        connect("server", [server.url + "/v1"], MODEL, reach=reach) as vllm,
        connect("sglang", [server.url], reach=reach) as sglang,
    ):
        yield {"server": vllm, "sglang": sglang}


@pytest.fixture(autouse=True)
def plain(server: Server) -> Iterator[None]:
    yield
    server.edit = lambda path, answer: answer


def logs(answer: Any) -> Any:
    return answer["choices"][-1]["logprobs"]


def meta(answer: Any) -> Any:
    return answer[-1]["meta_info"]


def put(at: Callable[[Any], Any], key: Any, value: Any) -> Edit:
    """An edit that writes `value`, or value(what stands there), under at(answer)[key]."""

    def edit(answer: Any) -> Any:
        place = at(answer)
        place[key] = value(place.get(key) if isinstance(place, dict) else place[key]) if callable(value) else value
        return answer

    return edit


def other_top(top: Any) -> Any:
    """The list at one position with another number for the token at hand, vLLM's or SGLang's."""
    name = max(top, key=top.get)
    return {**top, name: top[name] - 0.5}


SAMPLED: dict[str, tuple[str, Edit, type[GSIError], str]] = {
    "false": ("server", put(lambda a: logs(a)["token_logprobs"], -1, False), InvalidLogProb, "False as a log"),
    "true": ("server", put(lambda a: logs(a)["token_logprobs"], -1, True), InvalidLogProb, "True as a log"),
    "positive": ("server", put(lambda a: logs(a)["token_logprobs"], -1, 1e-4), InvalidLogProb, "0.0001 as a log"),
    "text": ("server", put(lambda a: logs(a)["token_logprobs"], -1, "-1.0"), InvalidLogProb, "'-1.0' as a log"),
    "ids": (
        "server",
        put(lambda a: a["choices"][-1]["token_ids"], 0, 9),
        GSIError,
        "two log-prob|no log-prob|contradicts",
    ),
    "ids in tokens": (
        "server",
        put(lambda a: logs(a)["tokens"], 0, "token_id:9"),
        BackendError,
        "tokens has id 9, not",
    ),
    "own": (
        "server",
        put(lambda a: logs(a)["token_logprobs"], -1, lambda x: x - 0.1),
        InvalidLogProb,
        "two log-probabilities",
    ),
    "float id": ("server", put(lambda a: a["choices"][-1]["token_ids"], 0, 9.7), BackendError, "9.7 as a token id"),
    "bool id": ("server", put(lambda a: a["choices"][-1]["token_ids"], 0, True), BackendError, "True as a token id"),
    "prompt": ("server", put(lambda a: a["choices"][-1], "prompt_token_ids", [1, 2]), BackendError, "prompt_token_ids"),
    "stop": ("server", put(lambda a: a["choices"][-1], "stop_reason", 77777), BackendError, "it stopped at id 77777"),
    "sglang false": ("sglang", put(lambda a: meta(a)["output_token_logprobs"][-1], 0, False), InvalidLogProb, "False"),
    "sglang ids": ("sglang", put(lambda a: a[-1]["output_ids"], 0, 9), BackendError, "output_ids has id 9"),
    "sglang own": (
        "sglang",
        put(lambda a: meta(a)["output_token_logprobs"][-1], 0, lambda x: x - 0.1),
        InvalidLogProb,
        "two log-probabilities",
    ),
    "sglang prompt": ("sglang", put(meta, "prompt_tokens", 1), BackendError, "it read 1 tokens where"),
}


@pytest.mark.parametrize("case", SAMPLED)
def test_a_sampled_answer_that_contradicts_itself_is_refused(
    case: str, server: Server, models: dict[str, ServerModel]
) -> None:
    kind, edit, error, message = SAMPLED[case]
    model = models[kind]
    wanted = model.sample(PREFIX, 8, KEY, LAW)
    if case == "stop":  # the last row must be one that stopped
        assert wanted[-1].token_ids[-1] in model.step_ends(SamplingLaw()).sure_ids
    server.edit = lambda path, answer: edit(answer)
    with pytest.raises(error, match=message):
        model.sample(PREFIX, 8, KEY, LAW)


SCORED: dict[str, tuple[str, Edit, type[GSIError], str]] = {
    "false": (
        "server",
        put(lambda a: a["choices"][-1]["prompt_logprobs"], -1, lambda e: {i: {"logprob": False} for i in e}),
        InvalidLogProb,
        "False as a log",
    ),
    "prompt ids": ("server", put(lambda a: a["choices"][0], "prompt_token_ids", [3]), BackendError, "prompt_token_ids"),
    "another prompt": (
        "server",
        put(lambda a: a["choices"][0]["prompt_logprobs"], 2, {"70000": {"logprob": -1.0}}),
        InvalidLogProb,
        "of the prompt",
    ),
    "sglang prompt": (
        "sglang",
        put(lambda a: meta(a)["input_token_logprobs"][0], 1, 9),
        BackendError,
        "input_token_logprobs has id 9",
    ),
    "sglang count": ("sglang", put(meta, "prompt_tokens", 2), BackendError, "it read 2 tokens"),
    "sglang own": (
        "sglang",
        put(lambda a: meta(a)["input_token_logprobs"][-1], 0, lambda x: x - 0.1),
        InvalidLogProb,
        "two log-probabilities",
    ),
}


@pytest.mark.parametrize("case", SCORED)
def test_a_score_that_contradicts_itself_is_refused(case: str, server: Server, models: dict[str, ServerModel]) -> None:
    kind, edit, error, message = SCORED[case]
    model = models[kind]
    steps = model.sample(PREFIX, 4, KEY, LAW)
    server.edit = lambda path, answer: edit(answer)
    with pytest.raises(error, match=message):
        model.score(PREFIX, steps, LAW)


def test_what_rounding_puts_above_zero_is_zero(server: Server, models: dict[str, ServerModel]) -> None:
    model, law = models["server"], SamplingLaw(temperature=1.0, max_step_tokens=1)
    for value, fits in ((ROUNDING, True), (1.01 * ROUNDING, False)):

        def edit(path: str, answer: Any, value: float = value) -> Any:
            for choice in answer["choices"]:
                choice["logprobs"]["token_logprobs"] = [value]
                choice["logprobs"]["top_logprobs"] = [{name: value} for name in choice["logprobs"]["tokens"]]
            return answer

        server.edit = edit
        if fits:
            assert [step.log_prob for step in model.sample(PREFIX, 2, KEY, law)] == [0.0, 0.0]
        else:
            with pytest.raises(InvalidLogProb, match="as a log-probability"):
                model.sample(PREFIX, 2, KEY, law)


DRAW = DrawRequest((7, 8, 9), [1, 2], 0.7, 3, (5,), 2)
SHAPES = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What http.py turns into a typed error."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 12) | st.integers() | st.floats() | st.sampled_from(["token_id:7", "7"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def answers(kind: str) -> Any:
    """A right answer to DRAW and to scoring two rows, which the fuzz then breaks."""
    if kind == "server":
        entry = {"7": {"logprob": -0.5}, "8": {"logprob": -1.0}, "9": {"logprob": -2.0}, "5": {"logprob": -2.5}}
        choice = {
            "finish_reason": "stop",
            "token_ids": [7, 5],
            "logprobs": {
                "tokens": ["token_id:7", "token_id:5"],
                "token_logprobs": [-0.5, -0.25],
                "top_logprobs": [{"token_id:7": -0.5, "token_id:8": -1.0}, {"token_id:5": -0.25}],
            },
            "prompt_logprobs": [None, *[entry] * 4],
        }
        return {"model": "m", "choices": [{"index": i, **choice} for i in range(2)]}
    logged = [[-0.5, 7, None], [-0.25, 5, None]]
    inner = {
        "finish_reason": {"type": "stop"},
        "output_token_logprobs": logged,
        "output_top_logprobs": [[[-0.5, 7, None]], [[-0.25, 5, None]]],
        "input_token_logprobs": [[None, 9, None], *logged],
        "input_top_logprobs": [None, [[-0.5, 7, None]], [[-0.25, 5, None]]],
    }
    return [{"output_ids": [7, 5], "meta_info": inner} for _ in range(2)]


def paths(value: Any) -> Iterator[list[Any]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield [key]
        yield from ([key, *rest] for rest in paths(inner))


@pytest.mark.parametrize("dialect", [VLLM(), SGLang()])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_an_answer_holds_it_is_read_right_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    """Up to three places of a right answer hold anything: numbers come out as they stand there, or not at all."""
    answer = answers(dialect.kind)
    assert len(dialect.read_samples(deepcopy(answer), {"m"}, DRAW)) == 2
    for path in data.draw(st.lists(st.sampled_from(list(paths(answer))), max_size=3)):
        place = answer
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = data.draw(JSON)
        except (LookupError, TypeError):  # an earlier edit took the place away
            continue
    reads: list[Callable[[], list[list[TopK]]]] = [
        lambda: [drawn.tokens for drawn in dialect.read_samples(deepcopy(answer), {"m"}, DRAW)],
        lambda: dialect.read_scores(deepcopy(answer), {"m"}, DRAW.ids, [(7, 5), (7, 5)]),
    ]
    for read in reads:
        try:
            rows = read()
        except (Failed, *SHAPES):
            continue
        assert len(rows) == 2
        for token in (token for row in rows for token in row):
            assert type(token.id) is int and 0 <= token.id < 1 << 31
            assert token.id in token.listed
            assert all(type(i) is int and value <= 0.0 for i, value in token.listed.items())


@pytest.mark.parametrize("dialect", [VLLM(), SGLang()])
@settings(max_examples=80, deadline=None)
@given(answer=JSON)
def test_whatever_a_server_says_of_itself(dialect: Dialect, answer: Any) -> None:
    for said in (answer, {"data": answer}, {"data": [answer]}, {"model_path": answer}):
        try:
            cards = dialect.about(said)
        except (Failed, *SHAPES):
            continue
        assert all(type(card.name) is str and (card.context is None or card.context > 0) for card in cards)
