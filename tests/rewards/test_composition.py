"""Rewards made of functions and of other rewards: values, ranges, failures that are named, caches, warnings."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Sequence

import pytest

from gsi_node import Reward, callable_reward
from gsi_node.errors import BackendError, ConfigError, RewardOutOfRange
from gsi_node.rewards.callables import Function
from gsi_node.rewards.constant import CANDIDATES
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers.cached import CachedReward
from gsi_node.rewards.wrappers.ensemble import Ensemble
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step

PREFIX = Prefix("p", (Step("one\n\n", (1,), 0.0, False),))
STEPS = [Step(text, (2,), 0.0, False) for text in ("2 + 2 = 4", "2 + 2 = 5", "so")]
A = TableReward({"2 + 2 = 4": 0.5, "2 + 2 = 5": 0.75, "so": 1.0}, name="a")
B = TableReward({"2 + 2 = 4": 0.25, "2 + 2 = 5": 0.5, "so": 0.0}, range=(0.0, 2.0), name="b")


def test_a_function_is_a_reward() -> None:
    def length(problem: str, steps: list[str]) -> float:
        assert problem == "p" and steps[0] == "one\n\n"
        return len(steps[-1]) / 100

    reward = callable_reward(length)
    assert isinstance(reward, Reward)
    assert reward(PREFIX, STEPS) == [0.09, 0.09, 0.02]
    assert reward.range == (0.0, 1.0)
    assert reward.fingerprint == callable_reward(length).fingerprint
    assert reward.fingerprint != callable_reward(length, range=(0, 2)).fingerprint
    assert reward.fingerprint != callable_reward(length, fingerprint="v2").fingerprint


async def test_an_async_function_is_asked_for_all_candidates_at_a_time() -> None:
    together = 0
    most = 0

    async def slow(problem: str, steps: list[str]) -> float:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.01)
        together -= 1
        return len(steps[-1]) / 100

    reward = callable_reward(slow)
    assert await reward.acall(PREFIX, STEPS) == [0.09, 0.09, 0.02]
    assert most == 3
    assert reward(PREFIX, STEPS) == [0.09, 0.09, 0.02]  # a loop runs in this thread, as in a notebook
    assert await asyncio.to_thread(reward, PREFIX, STEPS) == [0.09, 0.09, 0.02]


async def test_a_synchronous_function_has_an_async_twin() -> None:
    assert await callable_reward(lambda problem, steps: 0.5).acall(PREFIX, STEPS) == [0.5] * 3


@pytest.mark.parametrize("value", [None, "0.5", [0.5]])
def test_what_is_no_number_is_refused(value: object) -> None:
    function: Function = lambda problem, steps: value  # type: ignore[assignment] # noqa: E731
    with pytest.raises(BackendError, match="for candidate 0, not a number"):
        callable_reward(function)(PREFIX, STEPS)


@pytest.mark.parametrize(
    ("how", "weights", "wanted", "bounds"),
    [
        ("mean", None, [0.375, 0.625, 0.5], (0.0, 1.5)),
        ("weighted", [3, 1], [0.4375, 0.6875, 0.75], (0.0, 1.25)),
        ("min", None, [0.25, 0.5, 0.0], (0.0, 1.0)),
        ("product", None, [0.125, 0.375, 0.0], (0.0, 2.0)),
    ],
)
async def test_ensembles(
    how: str, weights: list[float] | None, wanted: list[float], bounds: tuple[float, float]
) -> None:
    both = Ensemble([A, B], how, weights)
    assert isinstance(both, Reward)
    assert both(PREFIX, STEPS) == pytest.approx(wanted)
    assert await both.acall(PREFIX, STEPS) == pytest.approx(wanted)
    assert both.range == pytest.approx(bounds)
    assert both.fingerprint != Ensemble([B, A], how, weights).fingerprint


def test_a_proven_error_caps_the_reward_and_nothing_else_does() -> None:
    assert Ensemble([VerifierReward(prior=1.0), A], "min")(PREFIX, STEPS) == [0.5, 0.0, 1.0]


class Broken:
    """A reward with something wrong."""

    name = "broken"
    range = (0.0, 1.0)
    fingerprint = "broken"

    def __init__(self, values: Sequence[float] | Exception) -> None:
        self._values = values

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if isinstance(self._values, Exception):
            raise self._values
        return list(self._values)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([0.5], BackendError, "1 rewards for 3 candidates"),
        ([0.5, math.nan, 0.5], RewardOutOfRange, r"nan for candidate 1 \('2 \+ 2 = 5'\)"),
        ([0.5, 0.5, 1.5], RewardOutOfRange, "1.5 for candidate 2"),
        (BackendError("the server is on fire"), BackendError, "the server is on fire"),
    ],
)
async def test_the_member_that_failed_is_named(
    values: list[float] | Exception, error: type[Exception], message: str
) -> None:
    both = Ensemble([A, Broken(values)])
    with pytest.raises(error, match=f"ensemble member broken: .*{message}"):
        both(PREFIX, STEPS)
    with pytest.raises(error, match=f"ensemble member broken: .*{message}"):
        await both.acall(PREFIX, STEPS)


def test_a_foreign_error_keeps_its_type_and_gets_a_note() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        Ensemble([A, Broken(ZeroDivisionError("x"))])(PREFIX, STEPS)
    assert caught.value.__notes__ == ["in member broken of the ensemble"]


def test_ensembles_that_are_refused() -> None:
    for members, how, weights in (([], "mean", None), ([A], "best", None), ([A, B], "weighted", [1.0])):
        with pytest.raises(ConfigError, match="ensemble"):
            Ensemble(members, how, weights)
    for how, given in (("mean", [1.0]), ("weighted", None), ("weighted", [0.0]), ("weighted", [-1.0])):
        with pytest.raises(ConfigError, match="weights"):
            Ensemble([A], how, given)
    with pytest.raises(ConfigError, match="never negative"):
        Ensemble([TableReward({}, range=(-1.0, 1.0))], "product")


async def test_a_cache_asks_once_for_the_same_content() -> None:
    asked: list[str] = []

    def seen(problem: str, steps: list[str]) -> float:
        asked.append(steps[-1])
        return len(asked) / 10

    cached = CachedReward(callable_reward(seen), entries=3)
    assert cached(PREFIX, [*STEPS, STEPS[0]]) == [0.1, 0.2, 0.3, 0.1]
    assert await cached.acall(PREFIX, STEPS) == [0.1, 0.2, 0.3]
    assert (cached.hits, cached.misses) == (4, 3)
    assert cached(Prefix("p"), STEPS[:1]) == [0.4]  # another prefix; the oldest entry goes
    assert cached(PREFIX, [STEPS[2], STEPS[0]]) == [0.3, 0.5]
    assert len(asked) == 5
    with pytest.raises(ConfigError, match="at least 1"):
        CachedReward(A, entries=0)
    with pytest.raises(BackendError, match="1 rewards for 3 candidates"):
        CachedReward(Broken([0.5]))(PREFIX, STEPS)


@pytest.mark.parametrize("wrong", [math.nan, 1.5, -math.inf])
async def test_a_cache_keeps_no_reward_that_is_none(wrong: float) -> None:
    said = [wrong]
    cached = CachedReward(callable_reward(lambda problem, steps: said[0]))
    with pytest.raises(RewardOutOfRange, match=rf"gave {wrong} for candidate 0 \('2 \+ 2 = 4'\) of 'p'"):
        cached(PREFIX, STEPS[:1])
    with pytest.raises(RewardOutOfRange):
        await cached.acall(PREFIX, STEPS[:1])
    said[0] = 0.5
    assert cached(PREFIX, STEPS[:1]) == [0.5]
    assert await cached.acall(PREFIX, STEPS[:1]) == [0.5]


def test_a_constant_reward_is_reported_once() -> None:
    reward = callable_reward(lambda problem, steps: 0.5, name="flat")
    many = STEPS * (CANDIDATES // 3)
    with pytest.warns(UserWarning, match="flat gave 0.5 to each of 48 candidates"):
        reward(PREFIX, many)
    reward(PREFIX, many)
    varied = callable_reward(lambda problem, steps: len(steps[-1]) / 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        varied(PREFIX, many)
        varied(PREFIX, STEPS[:1] * 99)
