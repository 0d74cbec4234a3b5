"""Looking ahead, in process and over servers: the same tokens, and nothing left of a guess that is dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from gsi_node.graph.build import compile_gsi
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.ahead import GUESS, bare, guesses_alive, settled
from tests.miniature import Miniatures
from tests.models.ends_world import KINDS, Open

FIELDS: dict[str, Any] = {"n": 3, "max_steps": 4, "max_step_tokens": 12, "max_tokens": 30, "threshold": 0.3}


def late(prefix: Prefix, step: Step) -> float:
    time.sleep(0.002)
    return (7 * sum(step.token_ids) % 10) / 10


@pytest.mark.parametrize("method", ["gsi", "expgsi", "sbon-base"])
def test_the_same_tokens_in_float64(method: str, miniatures: Miniatures) -> None:
    """Alone, awaited, and four runs at a time, over one engine a model."""
    own = {"draft": miniatures.language(dtype="float64"), "base": miniatures.language(dtype="float64", seed=1)}
    parts: Any = {**own, "reward": TableReward(late, name="late")}
    fields = {**FIELDS, "method": method}
    problems = [{"problem": f"{i}+{i}"} for i in range(4)]
    still = [bare(compile_gsi(**parts, config=GSIConfig(**fields)).invoke(problem)) for problem in problems]
    ahead = compile_gsi(**parts, config=GSIConfig(**fields, lookahead=2))
    for found in (
        [ahead.invoke(problem) for problem in problems[:2]],
        asyncio.run(ahead.abatch(problems[:1])),
        ahead.batch(problems, {"max_concurrency": 4}),
    ):
        for one, other in zip(map(bare, found), still, strict=False):
            assert [step["token_ids"] for step in one["steps"]] == [step["token_ids"] for step in other["steps"]]
            assert _rounded(one) == _rounded(other)
    assert settled()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


def test_a_guess_dropped_in_mid_draft_is_counted(miniatures: Miniatures) -> None:
    """The engine has no work left, and says how many tokens it had drawn for it."""
    draft, base = miniatures.language(), miniatures.language(seed=1)
    begun = threading.Event()
    tick = draft.engine.schedule.decoder.tick

    def slow() -> None:
        if guesses_alive():
            begun.set()
            time.sleep(0.003)
        tick()

    draft.engine.schedule.decoder.tick = slow  # type: ignore[method-assign]

    def reward(prefix: Prefix, step: Step) -> float:
        """Waits for a guess to be in mid-draft; there is none behind an end."""
        if guesses_alive():
            assert begun.wait(10)
            time.sleep(0.03)
            begun.clear()
        return 0.5

    fields: Any = {"n": 3, "max_steps": 3, "max_step_tokens": 60, "step_end": ["no such end"]}
    parts: Any = {"draft": draft, "base": base, "reward": TableReward(reward, name="r", range=(0.0, 1.0))}
    graph = compile_gsi(**parts, config=GSIConfig(**fields, method="rsd-n", delta=5.0, lookahead=1))
    out = graph.invoke({"problem": "1+1"})
    assert [step["source"] for step in out["steps"]] == ["base"] * len(out["steps"])
    discarded = out["usage"]["draft"]["discarded_tokens"]
    assert 0 < discarded < out["usage"]["draft"]["generated_tokens"] + 3 * 60
    assert settled()
    engine = draft.engine
    until = time.monotonic() + 10
    while engine.schedule.decoder.parts and time.monotonic() < until:
        time.sleep(0.001)
    assert not engine.schedule.decoder.parts and not engine.worker.waiting


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_hears_that_a_guess_is_dropped(kind: str, open_model: Open) -> None:
    """Its requests are cancelled, and the client is free for the next run."""
    server, model = open_model(kind)
    config = GSIConfig(
        method="sbon-draft", n=3, lookahead=1, max_step_tokens=16, step_end=["no such end"], max_log_ratio_error=9.0
    )
    own = model.sample

    def sample(*args: Any) -> list[Step]:
        server.streaming.pause = 0.2 if threading.current_thread().name == GUESS else 0.0
        return own(*args)

    model.sample = sample  # type: ignore[method-assign,assignment]
    graph = compile_gsi(draft=model, base=model, reward=TableReward(lambda *_: 1.0, name="one"), config=config)
    chunks: Any = graph.stream({"problem": "1+2"}, stream_mode="updates")
    while "draft" not in next(chunks):
        pass
    assert len(guesses_alive()) == 1
    before, until = server.streaming.left, time.monotonic() + 10
    time.sleep(0.5)
    chunks.close()
    while server.streaming.left < before + 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert server.streaming.left == before + 3
    assert settled()
    server.streaming.pause = 0.0
    assert graph.invoke({"problem": "1+2"}, context={"max_steps": 2})["steps"]
