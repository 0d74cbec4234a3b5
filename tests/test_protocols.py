"""What GSI needs of somebody's own model and reward, what the bases add, and the errors that name what is missing."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gsi_node import GSIConfig, Reward, RewardBase, StepModel, StepModelBase, compile_gsi, create_gsi
from gsi_node.core.rng import Stream
from gsi_node.errors import BackendError, ConfigError, LawMismatch, ResumeMismatch, RewardOutOfRange
from gsi_node.graph.stage_node import State
from gsi_node.identity import differing_parts, same_fingerprint
from gsi_node.protocols import Question, aask, ask, check_ratio, close, findings_of, name_of
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step

TEXTS = ("a\n\n", "b\n\n", "end")
PREFIX = Prefix("p")
STEPS = [Step(text, (i,), math.log(1 / 3), text == "end") for i, text in enumerate(TEXTS)]
LAW = SamplingLaw()
SMALL = GSIConfig(n=3, max_steps=4)


class Uniform(StepModelBase):
    """A third each: only what GSI needs of a model."""

    vocabulary = "three texts"

    def __init__(self, texts: Sequence[str] = TEXTS) -> None:
        self.texts = tuple(texts)

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        drawn = (int(Stream(key, i).uniform() * 3) for i in range(n))
        return [Step(self.texts[i], (i,), math.log(1 / 3), i == 2) for i in drawn]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return [Score(math.log(1 / 3)) for _ in steps]


class Length(RewardBase):
    """Longer is better: only what GSI needs of a reward."""

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [len(step.text) / 10 for step in steps]


class Unscored(StepModelBase):
    vocabulary = "three texts"
    sample = Uniform.sample
    texts = TEXTS


class Bare:
    """Neither derived from a base nor complete."""

    vocabulary = "three texts"
    sample = Uniform.sample
    score = Uniform.score


async def test_what_is_derived_from_the_bases_runs_with_three_members_and_one() -> None:
    model: StepModel = Uniform()
    reward: Reward = Length()
    gsi = compile_gsi(draft=model, base=Uniform(), reward=reward, config=SMALL)
    result = gsi.invoke({"problem": "p"})
    assert result["steps"] and result["stop_reason"] in ("eos", "max_steps")
    assert (await gsi.ainvoke({"problem": "p"}))["response"] == result["response"]
    assert model.eos_ids == () and reward.range == (0.0, 1.0)
    with Uniform() as same, Length() as its_reward:
        close(same)
        close(its_reward)
    model.supports(LAW)
    check_ratio(model, LAW)
    assert (name_of(model), findings_of(model)) == ("Uniform", ())
    with pytest.raises(ConfigError, match="give initial_steps their token_ids, or define encode"):
        gsi.invoke({"problem": "p", "initial_steps": [{"text": "a\n\n"}]})


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"draft": Unscored()}, "draft: Unscored lacks score; gsi_node.StepModelBase has all but vocabulary, sample"),
        ({"base": Unscored()}, "base: Unscored lacks score"),
        ({"draft": Bare()}, "draft: Bare lacks fingerprint and eos_ids and supports and encode; gsi_node.StepModelB"),
        (
            {"base": "pocket:base"},
            "base: want an object with the StepModel protocol, got str 'pocket:base'; gsi_node.l",
        ),
        (
            {"reward": len},
            "reward: .* lacks range and fingerprint; gsi_node.RewardBase has all but __call__, and gsi_n",
        ),
        ({"reward": lambda problem, steps: 0.5}, r"lacks range .* gsi_node.callable_reward\(fn\) makes a reward of fn"),
        ({"draft": Uniform}, r"draft: got the class Uniform; give an object of it, Uniform\(…\)"),
        ({"reward": Length}, r"reward: got the class Length; give an object of it, Length\(…\)"),
        ({"reward": 7}, "reward: want an object with the Reward protocol, got int 7; gsi_node.load_reward"),
    ],
)
def test_the_missing_member_is_named(parts: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        create_gsi(**{"draft": Uniform(), "base": Uniform(), "reward": Length(), **parts}, config=SMALL)


def test_score_is_asked_for_by_methods_with_a_ratio_alone() -> None:
    config = SMALL.model_copy(update={"method": "sbon-draft"})
    assert compile_gsi(draft=Unscored(), base=None, reward=Length(), config=config).invoke({"problem": "p"})["steps"]
    with pytest.raises(LawMismatch, match="Unscored lacks score"):
        Unscored().score(PREFIX, STEPS, LAW)


class Odd(RewardBase):
    """Answers `answer` whatever is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        answer: list[float] = self.answer
        return answer


class Awaited(RewardBase):
    async def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [0.5 for _ in steps]


@pytest.mark.parametrize(
    ("reward", "error", "told"),
    [
        (Awaited(), BackendError, "Awaited: __call__ returned a coroutine: .* gsi_node.callable_reward"),
        (Odd(0.5), BackendError, "Odd returned 0.5, a float, for 3 candidates: .* gsi_node.callable_reward"),
        (Odd(None), BackendError, "Odd returned None, a NoneType, .* gsi_node.callable_reward"),
        (Odd(["good"] * 3), BackendError, "a list, for 3 candidates: .* gsi_node.callable_reward"),
        (Odd(np.array([0.5, 0.5])), BackendError, "returned 2 rewards for 3 candidates of 'p'; gsi_node.callable_rewa"),
        (Odd(np.full((3, 1, 2), 0.5)), BackendError, "a ndarray, for 3 candidates: .* gsi_node.callable_reward"),
        (Odd([0.5, math.nan, 0.5]), RewardOutOfRange, r"gave nan for candidate 1 .* its range is \[0.0, 1.0\]"),
    ],
)
async def test_a_reward_of_another_shape_is_an_error_that_names_what_makes_one(
    reward: Reward, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        ask(reward, "__call__", PREFIX, STEPS)
    with pytest.raises(error, match=told):
        await aask(reward, "__call__", PREFIX, STEPS)
    gsi = compile_gsi(draft=Uniform(), base=Uniform(), reward=reward, config=SMALL)
    with pytest.raises(error, match=told):
        gsi.invoke({"problem": "p"})


class OddModel(Uniform):
    """Answers `answer` where it is asked for steps, or for scores."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.answers = answers

    def sample(self, *args: Any) -> list[Step]:
        return self.answers["sample"] if "sample" in self.answers else super().sample(*args)

    def score(self, *args: Any) -> list[Score]:
        return self.answers["score"] if "score" in self.answers else super().score(*args)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"sample": None}, "OddModel: sample returned None, a NoneType: want a list of one Step a candidate"),
        ({"sample": ["a\n\n"] * 3}, "sample returned .*, a list: want a list of one Step a candidate"),
        ({"score": 0.5}, "OddModel: score returned 0.5, a float: want a list of one Score a candidate"),
        ({"score": [(0.5, 0.0)] * 3}, "score returned .*, a list: want a list of one Score a candidate"),
    ],
)
async def test_a_model_that_answers_in_another_shape_is_an_error(answers: dict[str, Any], told: str) -> None:
    model = OddModel(**answers)
    gsi = compile_gsi(draft=model, base=model, reward=Length(), config=SMALL)
    with pytest.raises(BackendError, match=told):
        gsi.invoke({"problem": "p"})
    with pytest.raises(BackendError, match=told):
        await gsi.ainvoke({"problem": "p"})


def test_scores_may_be_plain_numbers() -> None:
    found = ask(OddModel(score=np.log([0.25, 0.5, 1.0])), "score", PREFIX, STEPS, LAW)
    assert found == [Score(math.log(0.25)), Score(math.log(0.5)), Score(0.0)]


async def test_numpy_rewards_of_the_right_shape_are_numbers() -> None:
    found = ask(Odd(np.array([0.25, 0.5, 1.0])), "__call__", PREFIX, STEPS)
    assert found == [0.25, 0.5, 1.0] and all(type(value) is float for value in found)
    assert await aask(Odd((0, 1, 1)), "__call__", PREFIX, STEPS) == [0.0, 1.0, 1.0]


class Twins(Uniform):
    """Counts how it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.asked.append("sample")
        return super().sample(prefix, n, key, law)

    async def asample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.asked.append("asample")
        return Uniform.sample(self, prefix, n, key, law)


async def test_the_async_twin_is_asked_where_there_is_one() -> None:
    args = (PREFIX, 4, Key(0, "p", 0, "draft"), LAW)
    model = Twins()
    assert ask(model, "sample", *args) == await aask(model, "sample", *args)
    assert model.asked == ["sample", "asample"]
    method: Question = "score"
    bare = Bare()  # it has no twin: in a worker thread
    assert ask(bare, method, PREFIX, STEPS, LAW) == await aask(bare, method, PREFIX, STEPS, LAW)


def test_a_model_that_is_awaited_is_told_where_that_belongs() -> None:
    class Model(Uniform):
        async def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:  # type: ignore[override]
            return []

    with pytest.raises(BackendError, match="Model: sample returned a coroutine: .* belongs into asample"):
        ask(Model(), "sample", PREFIX, 4, Key(0, "p", 0, "draft"), LAW)


class Client(RewardBase):
    """Holds what nobody can tell: a connection."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.connection = socket.socket()

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [0.5 for _ in steps]


def test_an_identity_comes_from_the_content_never_from_the_name() -> None:
    assert Uniform().fingerprint == Uniform().fingerprint
    assert Uniform(("x", "y", "z")).fingerprint != Uniform().fingerprint
    typed: dict[str, Any] = {"__name__": "typed", "Base": StepModelBase}
    exec("class Uniform(Base): vocabulary = 'three texts'", typed)
    unread = typed["Uniform"]
    assert unread().fingerprint != unread().fingerprint  # a class without source: nobody can tell what it does
    one, two = Client("m"), Client("m")
    assert one.fingerprint == one.fingerprint != two.fingerprint
    assert not same_fingerprint(one.fingerprint, two.fingerprint)
    assert differing_parts(one.fingerprint, two.fingerprint) == ", which differ in instance"
    for client in (one, two):
        client.connection.close()


def test_a_checkpoint_does_not_go_on_with_a_model_that_nobody_can_tell() -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    saver, thread = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    draft, base = TableModel({"a\n\n": 0.5, "b": 0.5}), TableModel({"a\n\n": 0.25, "b": 0.75})
    one, two = Client("m"), Client("m")

    def graph(reward: Reward) -> Any:
        compiled = compile_gsi(draft=draft, base=base, reward=reward, config=SMALL, checkpointer=saver)
        compiled.interrupt_before_nodes = ["tilt_and_accept"]
        return compiled

    graph(one).invoke({"problem": "p"}, thread)
    with pytest.raises(ResumeMismatch, match="instance"):
        graph(two).invoke(None, thread)
    state: State = graph(one).invoke(None, thread)
    assert state is not None
    for client in (one, two):
        client.connection.close()


def test_table_rewards_have_the_protocol() -> None:
    assert isinstance(TableReward({}), Reward) and isinstance(Length(), Reward) and isinstance(Uniform(), StepModel)
