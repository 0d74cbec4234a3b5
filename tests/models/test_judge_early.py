"""Candidates told as they end, in process and by servers; and runs that judge them then: the same tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gsi_node import load_model, load_reward
from gsi_node.errors import BackendError, BackendUnavailable, ConfigError
from gsi_node.graph.build import compile_gsi
from gsi_node.hearing import Ended, current_hear, hearing
from gsi_node.models.remote import RemoteModel, SampleReader, SampleStream
from gsi_node.models.servers.health import Health
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.replica import Failed
from gsi_node.protocols import aask
from gsi_node.step.config import GSIConfig
from gsi_node.step.methods import METHODS
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.engine.test_faults import memory_of
from tests.graph.early import EndingTable, is_early, parts, quiet
from tests.graph.world import config, plain, steps_then_answer
from tests.miniature import Miniatures
from tests.models.ends_world import KEY, KINDS, PREFIX, Open, law_of, streamed
from tests.models.serving import Bigram, Server
from tests.models.test_lookahead import FIELDS, _rounded
from tests.service.running import running as serving

LAW = SamplingLaw(max_step_tokens=20)


class Told:
    """What was told of a call: by place, in bursts."""

    def __init__(self) -> None:
        self.bursts: list[dict[int, Step]] = []

    def __call__(self, ended: Ended) -> None:
        self.bursts.append({place: made() for place, made in ended.items()})

    @property
    def places(self) -> list[int]:
        return [place for burst in self.bursts for place in burst]


def test_the_engine_tells_of_rows_as_they_end(miniatures: Miniatures) -> None:
    """Each once, as it is in the answer; of the last, with which the answer is there, it does not."""
    model, told = miniatures.language(dtype="float64"), Told()
    still = model.sample(Prefix("1+2"), 16, Key(1, "t", 0, "draft"), LAW)
    with hearing(told):
        steps = model.sample(Prefix("1+2"), 16, Key(1, "t", 0, "draft"), LAW)
    assert current_hear() is None and steps == still
    assert len(told.bursts) > 2 and len(set(told.places)) == len(told.places) < 16
    lengths = [len(step.token_ids) for step in steps]
    assert set(told.places) == {place for place in range(16) if lengths[place] < max(lengths)}
    for burst in told.bursts:
        assert burst == {place: steps[place] for place in burst}
        assert len({lengths[place] for place in burst}) == 1, "those that end together are told together"
    assert [lengths[place] for place in told.places] == sorted(lengths[place] for place in told.places)


def test_rows_that_are_drawn_again_are_told_again(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of memory, in smaller company: the same, and nobody waits for the ones before."""
    still = miniatures.language(dtype="float64").sample(Prefix("1+2"), 16, Key(1, "t", 0, "draft"), LAW)
    memory_of(monkeypatch, 5)
    model, told = miniatures.language(dtype="float64"), Told()
    with hearing(told):
        again = model.sample(Prefix("1+2"), 16, Key(1, "t", 0, "draft"), LAW)
    ids = [step.token_ids for step in still]
    assert [step.token_ids for step in again] == ids and len(told.places) > len(set(told.places))
    assert all(step.token_ids == ids[place] for burst in told.bursts for place, step in burst.items())


JUDGED = sorted(name for name, method in METHODS.items() if method.needs and not method.single)


class EarlyCounts:
    """How often a model or reward was asked early."""

    def __init__(self) -> None:
        self.early = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any) -> Any:
            self.early += is_early()
            return function(*args)

        return counting


@pytest.mark.parametrize("method", JUDGED)
def test_the_same_tokens_in_float64(method: str, miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every method that scores or rewards: alone, awaited, and two runs at a time, over one engine a model."""
    own = {"draft": miniatures.language(dtype="float64"), "base": miniatures.language(dtype="float64", seed=1)}
    models: Any = {**own, "reward": miniatures.reward(dtype="float64")}
    fields: dict[str, Any] = {**FIELDS, "method": method, "n": 4, "max_step_tokens": 16, "max_tokens": 40}
    fields["max_steps"] = 1 if METHODS[method].propose == "specdec" else 3
    problems = [{"problem": f"{i}+{i}"} for i in range(2)]
    still = [plain(compile_gsi(**models, config=GSIConfig(**fields)).invoke(problem)) for problem in problems]
    counts = EarlyCounts()
    for role, question in (("base", "score"), ("reward", "__call__")):
        kind = type(models[role])
        monkeypatch.setattr(kind, question, counts.around(getattr(kind, question)))
    early = compile_gsi(**models, config=GSIConfig(**fields, judge_early=True))
    for found in (
        [early.invoke(problem) for problem in problems[:1]],
        asyncio.run(early.abatch(problems[:1])),
        early.batch(problems, {"max_concurrency": 2}),
    ):
        for one, other in zip(map(plain, found), still, strict=False):
            assert [step["token_ids"] for step in one["steps"]] == [step["token_ids"] for step in other["steps"]]
            assert _rounded(one) == _rounded(other)
    assert quiet() and counts.early


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_tells_of_each_row(
    kind: str, streams: bool, open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its stream, or its request, ends; the rows are those of one request for all."""
    _, model = open_model(kind)
    streamed(model, monkeypatch, streams)
    law, told = law_of("list"), Told()
    still = model.sample(PREFIX, 4, KEY, law)
    with hearing(told):
        steps = asyncio.run(aask(model, "sample", PREFIX, 4, KEY, law))
    assert steps == still and sorted(told.places) == [0, 1, 2, 3]
    assert all(step == steps[place] for burst in told.bursts for place, step in burst.items())


def test_a_chat_endpoint_tells_of_each_answer() -> None:
    with Server(Bigram(12, [3])) as server:
        model, told = load_model(f"chat:{server.url}/v1#bigram"), Told()
        with hearing(told):
            steps = model.sample(Prefix("1+2"), 3, KEY, LAW)
        assert sorted(told.places) == [0, 1, 2]
        assert all(step == steps[place] for burst in told.bursts for place, step in burst.items())


def test_our_service_tells_of_steps_as_they_end() -> None:
    """As events, to a client that somebody hears; the answer is the one that comes whole."""
    draft, told = EndingTable(steps_then_answer(0.4, 5), name="draft"), Told()
    with serving(model=draft) as url, RemoteModel.connect([url]) as model:
        still = model.sample(PREFIX, 4, KEY, SamplingLaw())
        with hearing(told):
            assert model.sample(PREFIX, 4, KEY, SamplingLaw()) == still
            assert asyncio.run(aask(model, "sample", PREFIX, 4, KEY, SamplingLaw())) == still
    assert told.places == [3, 2, 1] * 2
    assert all(step == still[place] for burst in told.bursts for place, step in burst.items())


class Breaking(EndingTable):
    """Fails before its first candidate has ended, or after."""

    after = False
    error: Exception

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        if self.after:
            super().sample(prefix, n, key, law)
        raise self.error


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "error, kind", [(ConfigError("n is 4"), BackendError), (ValueError("words"), BackendUnavailable)]
)
def test_our_service_fails_in_a_stream_as_it_does_whole(error: Exception, kind: type[Exception], after: bool) -> None:
    draft = Breaking(steps_then_answer(0.4, 5), name="draft")
    draft.after, draft.error = after, error
    with serving(model=draft) as url, RemoteModel.connect([url], Reach(attempts=1)) as model:
        found = []
        for hear in (None, Told()):
            with hearing(hear), pytest.raises(kind) as raised:
                model.sample(PREFIX, 4, KEY, SamplingLaw())
            found.append(str(raised.value))
        assert "words" not in found[1] and ("n is 4" in found[1]) == ("n is 4" in found[0])


def test_a_stream_of_our_service_that_ends_early_is_no_answer() -> None:
    about = Health("m", "model", "F", "V", (), None, None, None, True)
    told = Told()
    stream = SampleStream(SampleReader(about, 1, LAW, frozenset()), told)
    step = {"text": "a", "token_ids": [97], "log_prob": -1.0, "finished": False, "log_prob_error": 0.0, "beyond": 0}
    assert not stream.more({"fingerprint": "F", "ended": [[0, step]]}) and told.places == [0]
    with pytest.raises(Failed, match="ended before the answer"):
        stream.result()
    with pytest.raises(Failed, match="answered for 'F'"):
        stream.more({"fingerprint": "G", "ended": [[0, step]]})
    assert not stream.more({"fingerprint": "F", "steps": [step]})
    assert stream.result() == [told.bursts[0][0]]


def test_a_run_over_our_services_is_the_same() -> None:
    """Three of them, as `gsi serve` runs them."""
    own = parts()
    still = plain(compile_gsi(**own, config=config(n=5)).invoke({"problem": "p"}))
    with (
        serving(model=own["draft"]) as draft,
        serving(model=own["base"]) as base,
        serving(reward=own["reward"]) as reward,
    ):
        own["reward"].asked.clear()
        far: Any = {"draft": load_model(f"remote:{draft}"), "base": load_model(f"remote:{base}")}
        far["reward"] = load_reward(f"remote:{reward}")
        graph = compile_gsi(**far, config=config(n=5, judge_early=True))
        assert plain(graph.invoke({"problem": "p"})) == still
        assert max(len(texts) for _, texts in own["reward"].asked) < 5, "no whole batch: all was judged as it ended"
        for part in far.values():
            part.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_over_servers_is_the_same(kind: str, open_model: Open) -> None:
    """Draft and base on a server, the reward here; the scores are of the rows that have ended."""
    _, model = open_model(kind)
    early: list[int] = []

    def reward(prefix: Prefix, step: Step) -> float:
        early.append(is_early())
        return (7 * sum(step.token_ids) % 10) / 10

    found = []
    for judge_early in (False, True):
        settings = GSIConfig(
            n=4, max_steps=3, max_step_tokens=16, max_log_ratio_error=9.0, threshold=0.3, judge_early=judge_early
        )
        graph = compile_gsi(draft=model, base=model, reward=TableReward(reward, name="sum"), config=settings)
        found.append(plain(graph.invoke({"problem": "1+2"})))
        assert any(early) == judge_early
    assert found[0] == found[1] and quiet()
