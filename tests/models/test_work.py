"""What TransformersModel computes and when: no work twice, a bounded cache, threads that take turns, cancellation."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch import Tensor

from gsi_node.engine.runner import Runner
from gsi_node.models.transformers import TransformersModel
from gsi_node.types import Ends, Key, Prefix, SamplingLaw
from tests.miniature import Miniatures

KEY = Key(5, "p", 0, "draft")
LAW = SamplingLaw(max_step_tokens=20)


def test_work_per_step_does_not_grow(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the prompt, a commit costs nothing more: each step feeds its candidates' tokens and nothing again."""
    draft, base = miniatures.language(), miniatures.language(seed=1)
    fed: list[tuple[int, int]] = []
    real = Runner.feed

    def feed(self: Runner, rows: Any, ids: Tensor, *, last: bool) -> Tensor:
        fed.append((ids.shape[0], ids.shape[1]))
        return real(self, rows, ids, last=last)

    monkeypatch.setattr(Runner, "feed", feed)
    law = SamplingLaw(max_step_tokens=6, ends=Ends(()), eos_ids=(3,))
    prefix = Prefix("1+2+3+4+5+6+7+8+9")
    for position in range(6):
        fed.clear()
        steps = draft.sample(prefix, 4, Key(0, "w", position, "draft"), law)
        widths = [width for _, width in fed[position == 0 :]]  # the prompt once, then one token at a time
        assert widths == [1] * len(widths)
        fed.clear()
        base.score(prefix, steps, law)
        assert len(fed) == (2 if position == 0 else 1)
        assert fed[-1][1] == max(len(step.token_ids) for step in steps)
        prefix = prefix.extended(max(steps, key=lambda step: len(step.token_ids)))
    info = base.engine.cache.info
    assert (info.hits, info.misses) == (5, 1)


def test_a_step_of_another_model_is_fed_once(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fallback: the base samples after scoring, its step is committed, and the draft reads just that step."""
    draft, base = miniatures.language(), miniatures.language(seed=1)
    fed: list[tuple[int, int]] = []
    real = Runner.feed

    def feed(self: Runner, rows: Any, ids: Tensor, *, last: bool) -> Tensor:
        fed.append((ids.shape[0], ids.shape[1]))
        return real(self, rows, ids, last=last)

    law = SamplingLaw(max_step_tokens=6, ends=Ends(()), eos_ids=(3,))
    prefix = Prefix("1+2+3")
    base.score(prefix, draft.sample(prefix, 4, KEY, law), law)
    monkeypatch.setattr(Runner, "feed", feed)
    fallback = base.sample(prefix, 4, KEY.at("fallback"), law)
    assert all(width == 1 for _, width in fed)  # scoring left the prompt
    longer = prefix.extended(max(fallback, key=lambda step: len(step.token_ids)))
    fed.clear()
    draft.sample(longer, 4, KEY, law)
    assert fed[0][0] == 1
    assert fed[0][1] < len(longer.steps[0].token_ids)  # x_P is known from the draft's own candidates
    assert all(width == 1 for _, width in fed[1:])
    fed.clear()
    base.sample(longer, 4, KEY, law)
    assert all(width == 1 for _, width in fed)


def test_a_model_without_cache_gives_the_same(miniatures: Miniatures) -> None:
    plain = miniatures.language(dtype="float64")
    small = miniatures.language(dtype="float64", options={"cache_bytes": 0})
    tiny = miniatures.language(dtype="float64", options={"cache_bytes": 24_000, "logits_bytes": 1})
    prefix = Prefix("2+2")
    for position in range(3):
        steps = plain.sample(prefix, 4, Key(1, "c", position, "draft"), LAW)
        wanted = [score.log_prob for score in plain.score(prefix, steps, LAW)]
        for model in (small, tiny):
            assert [s.token_ids for s in model.sample(prefix, 4, Key(1, "c", position, "draft"), LAW)] == [
                s.token_ids for s in steps
            ]
            assert [score.log_prob for score in model.score(prefix, steps, LAW)] == pytest.approx(wanted, abs=1e-9)
        prefix = prefix.extended(steps[0])
    assert small.engine.cache.info.bytes == 0
    assert 0 < tiny.engine.cache.info.bytes <= 24_000
    assert tiny.engine.cache.info.evicted > 0


def test_threads_share_a_model(miniatures: Miniatures) -> None:
    model, alone = miniatures.language(dtype="float64"), miniatures.language(dtype="float64")
    problems = [f"{i}+{i}" for i in range(8)]

    def solve(target: TransformersModel, problem: str) -> list[float]:
        steps = target.sample(Prefix(problem), 4, KEY, LAW)
        return [score.log_prob for score in target.score(Prefix(problem), steps, LAW)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda problem: solve(model, problem), problems))
    for found, problem in zip(together, problems, strict=True):
        assert found == pytest.approx(solve(alone, problem), abs=1e-9)


async def test_cancelling_stops_the_forwards(miniatures: Miniatures) -> None:
    model = miniatures.language()
    intervals: list[tuple[float, float]] = []
    model.engine.runner.forward_intervals = intervals
    law = SamplingLaw(max_step_tokens=200, ends=Ends(()), eos_ids=())
    task = asyncio.create_task(model.asample(Prefix("1"), 8, KEY, law))
    while len(intervals) < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    stopped = len(intervals)
    await asyncio.sleep(0.1)
    assert len(intervals) == stopped < 150
    assert all(start < end for start, end in intervals)
    assert model.sample(Prefix("1"), 1, KEY, LAW)  # and the model is free again


def test_closing_frees_the_cache(miniatures: Miniatures) -> None:
    with miniatures.language() as model:
        model.sample(Prefix("1"), 2, KEY, LAW)
        assert model.engine.cache.info.bytes > 0
    assert model.engine.cache.info.bytes == 0
