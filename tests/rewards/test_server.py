"""Served reward models against a small server of our own: recorded shapes, the same ids as in process, faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, GSIError, RewardOutOfRange, SpecError
from gsi_node.protocols import Reward
from gsi_node.rewards.prm.families import FAMILIES, Read, first, only, second
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.rewards.prm.served import ServedReward
from gsi_node.specs.load import load_reward
from gsi_node.types import Prefix, Step
from tests.rewards.family_models import build_family
from tests.rewards.pooling import MODEL, PoolingServer, logit, probability

PREFIX = Prefix("What is 2+2?", (Step("2+2=4.\n\n", (1,), 0.0, False),))
STEPS = [Step(text, (1,), 0.0, False) for text in ("So it is 4.\n\n", "So it is 5.", "x")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


OPENED: list[ServedReward] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No connection outlives its test."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def server() -> Iterator[PoolingServer]:
    with PoolingServer() as running:
        yield running


def served(server: PoolingServer, root: Path, family: str, options: str = "") -> ServedReward:
    spec = f"server:{server.url}#{MODEL}@{family}?tokenizer={build_family(root, family)}&attempts=3&timeout=5{options}"
    reward = load_reward(spec)
    assert isinstance(reward, ServedReward)
    OPENED.append(reward)
    return reward


@pytest.mark.parametrize(
    ("family", "outputs", "pooler", "options"),
    [
        ("qwen", 2, "ALL", ""),
        ("qwen", 2, "STEP", ""),
        ("qwen", 2, "STEP", "&raw=true"),
        ("skywork", 1, "ALL", ""),
        ("skywork", 1, "ALL", "&api=embeddings"),
        ("trl", 2, "ALL", ""),
        ("trl-chat", 2, "ALL", "&raw=true"),
        ("orm", 1, "LAST", ""),
    ],
)
def test_the_ids_are_those_in_process_and_the_last_row_is_read(
    root: Path, family: str, outputs: int, pooler: str, options: str
) -> None:
    local = TransformersPRM.from_pretrained(build_family(root, family))
    before = local.prefix_ids(PREFIX)
    inputs = [[*before, *local.layout.candidate(step.text, False)] for step in STEPS]
    with PoolingServer(pooler=pooler, outputs=outputs, step_id=local.layout.mark[-1]) as server:
        reward = served(server, root, family, options)
        assert isinstance(reward, Reward)
        assert reward(PREFIX, STEPS) == pytest.approx([probability(ids) for ids in inputs])
        path, body = server.requests[-1]
    assert body["input"] == inputs
    if "embeddings" in options:
        assert path == "/v1/embeddings"
    else:
        wanted = "classify" if family == "orm" else "token_classify"
        assert (path, body["task"], body["use_activation"]) == ("/pooling", wanted, "raw" not in options)


@pytest.mark.parametrize("read", [first, second, only])
@pytest.mark.parametrize("raw", [False, True])
def test_a_served_model_is_read_as_its_family_says(
    read: Read, raw: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in process: probabilities that a server gives are read by the rule that outputs are read by."""
    outputs = 1 if read is only else 2
    family = replace(FAMILIES["trl"], name="trl-mine", read=read, outputs=outputs)
    monkeypatch.setitem(FAMILIES, "trl-mine", family)
    with PoolingServer(outputs=outputs) as server:
        folder = str(build_family(root, "trl"))
        reward = ServedReward.connect([server.url], MODEL, family="trl-mine", tokenizer=folder, raw=raw)
        OPENED.append(reward)
        found = reward(PREFIX, STEPS)
        inputs = server.requests[-1][1]["input"]
    good = [1 - probability(ids) if read is first else probability(ids) for ids in inputs]
    assert found == pytest.approx(good)
    said = [[logit(ids)] if outputs == 1 else [0.5, 0.5 + logit(ids)] for ids in inputs]
    assert found == pytest.approx([family.good(values) for values in said])


@pytest.mark.parametrize("read", [first, second, only])
def test_certainty_is_read_as_such(read: Read) -> None:
    family = replace(FAMILIES["trl"], read=read, outputs=1 if read is only else 2)
    for p in (0.0, 1.0, 0.25):
        probabilities = [p] if read is only else [p, 1 - p]
        assert family.good_of(probabilities) == pytest.approx(1 - p if read is second else p)


def test_repeated_and_empty_steps_are_not_sent(server: PoolingServer, root: Path) -> None:
    reward = served(server, root, "trl")
    rewards = reward(PREFIX, [STEPS[0], STEPS[0], Step("\n\n", (1,), 0.0, False)])
    assert len(server.requests[-1][1]["input"]) == 1
    assert rewards == [rewards[0], rewards[0], 0.0]
    count = len(server.requests)
    assert reward(Prefix("p"), [Step("", (1,), 0.0, True)]) == [0.0]
    assert len(server.requests) == count


async def test_its_async_twin_says_the_same(server: PoolingServer, root: Path) -> None:
    reward = served(server, root, "trl")
    assert await reward.acall(PREFIX, STEPS) == reward(PREFIX, STEPS)


@pytest.mark.parametrize("fault", ["reset", "429", "500", "503", "truncate", "few", "null"])
def test_a_passing_fault_is_survived(server: PoolingServer, root: Path, fault: str) -> None:
    reward = served(server, root, "trl")
    wanted = reward(PREFIX, STEPS)
    server.faults = [fault, fault]
    assert reward(PREFIX, STEPS) == wanted
    assert server.faults == []


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("reset", BackendUnavailable, "connection failed"),
        ("503", BackendUnavailable, "status 503: scripted 503"),
        ("400", BackendError, "status 400: scripted 400"),
        ("404", SpecError, "status 404"),
        ("truncate", BackendError, "no JSON, or cut off"),
        ("few", BackendError, "2 results for 3 inputs"),
        ("null", BackendError, "another shape than expected"),
        ("wide", BackendError, "3 outputs at a step, where family 'trl' has 2"),
        ("short", BackendError, "rows of outputs for"),
        ("nan", RewardOutOfRange, r"gave nan for candidate 2 \('x'\) of problem 'What is 2"),
    ],
)
def test_a_lasting_fault_is_an_error_and_never_a_number(
    server: PoolingServer, root: Path, fault: str, error: type[GSIError], message: str
) -> None:
    reward = served(server, root, "trl")
    server.faults = [fault] * 3
    with pytest.raises(error, match=message):
        reward(PREFIX, STEPS)
    server.faults.clear()
    assert len(reward(PREFIX, STEPS)) == 3


def test_raw_outputs_are_no_probabilities(root: Path) -> None:
    with PoolingServer(activated=False) as server:
        with pytest.raises(BackendError, match=r"are no probabilities.*raw=true"):
            served(server, root, "trl")
        assert -2 <= logit([1, 2]) <= 2
        served(server, root, "trl", "&raw=true")


def test_refusals(server: PoolingServer, root: Path) -> None:
    folder = build_family(root, "shepherd")
    with pytest.raises(ConfigError, match="no pooling endpoint gives; run it in process with prm:NAME@shepherd"):
        load_reward(f"server:{server.url}#{MODEL}@shepherd?tokenizer={folder}")
    with pytest.raises(SpecError, match="model is not named"):
        load_reward(f"server:{server.url}@qwen?tokenizer={folder}")
    with pytest.raises(ConfigError, match="api='rerank' is unknown"):
        served(server, root, "trl", "&api=rerank")
    with pytest.raises(SpecError, match="does not exist"):
        load_reward(f"server:{server.url}#other@trl?tokenizer={build_family(root, 'trl')}")
    with pytest.raises(BackendUnavailable, match="FOLDER with the served model's tokenizer"):
        load_reward(f"server:{server.url}#{MODEL}@qwen?tokenizer={root / 'none'}")
    found = load_reward(f"server:{server.url}#{MODEL}?tokenizer={build_family(root, 'trl')}")
    assert isinstance(found, ServedReward)
    OPENED.append(found)
    assert found.fingerprint == served(server, root, "trl").fingerprint
