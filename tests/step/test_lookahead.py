"""What is guessed: the likeliest choices, none behind an end, and the fallback where refusal is certain."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models, StepContext
from gsi_node.step.judging import Commit, Judging
from gsi_node.step.lookahead import following, likely, refusal_is_certain
from gsi_node.step.records import next_context
from gsi_node.tables.models import TableModel, table_step
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Score, Step


def context(**fields: Any) -> StepContext:
    settings = GSIConfig(**{"n": 4, "beta": 2.0, "lookahead": 2, **fields})
    draft = TableModel({"a\n\n": 0.5, "b\n\n": 0.3, "c\n\n": 0.2})
    reward = TableReward({"a\n\n": 0.1, "b\n\n": 0.5, "c\n\n": 0.9})
    return next_context(Models(draft, draft, reward), settings, Prefix("p"), "p", [])


def texts(found: Iterator[StepContext]) -> list[str]:
    return [one.prefix.steps[-1].text for one in found]


def test_the_likeliest_choices() -> None:
    """Before a reward, what was drawn most often; then by Σ exp(β r) over equal candidates."""
    steps = [table_step(text, -1.0) for text in ("b\n\n", "a\n\n", "a\n\n", "c\n\n")]
    here = context()
    assert texts(likely(here, steps, None)) == ["a\n\n", "b\n\n"]
    assert texts(likely(here, steps, [0.5, 0.1, 0.1, 0.9])) == ["c\n\n", "b\n\n"]
    assert texts(likely(here, steps, [0.5, 0.4, 0.4, 0.45])) == ["a\n\n", "b\n\n"], "2 e^.8 > e^1"
    assert texts(likely(context(lookahead=1), steps, [0.5, 0.1])) == ["b\n\n"], "of a scan: of those that are judged"


def test_no_guess_behind_an_end() -> None:
    """EOS, an answer, or a budget: there is no next step, and the next likeliest does not take its place."""
    end, boxed, on = table_step("end", -1.0), table_step("\\boxed{7}\n\n", -1.0), table_step("b\n\n", -1.0)
    assert end.finished and not boxed.finished
    for fields, last in (({}, end), ({}, boxed), ({"max_steps": 1}, on), ({"max_tokens": 3, "max_step_tokens": 3}, on)):
        assert following(context(**fields), last) is None
    assert texts(likely(context(), [end, end, on], None)) == ["b\n\n"]
    assert texts(likely(context(lookahead=1), [end, end, on], None)) == []
    cut = following(context(max_tokens=10, max_step_tokens=9), on)
    assert cut is not None and cut.law.max_step_tokens == 7


@pytest.mark.parametrize("method", ["gsi", "gsi-ic", "expgsi", "rsd-n", "rsd", "gsi-no-fallback"])
def test_refusal_is_certain(method: str) -> None:
    """On random batches, whatever log-probabilities ≤ 0 the base gives: certain means refused. And where it is not
    certain, some base accepts: nothing certain is missed (of expgsi and rsd-n the streams' choice decides, too)."""
    rng, certain = random.Random(3), 0
    for trial in range(120):
        fields = {"threshold": rng.uniform(0.4, 2.4), "delta": rng.uniform(0.2, 0.9), "chunk_size": 9}
        log_c = {"log_c": rng.uniform(-1.0, 4.0)} if trial % 2 else {}
        here = context(method=method, seed=trial, log_ratio_clip=0.7, **fields, **log_c)
        n = here.n
        steps = [table_step(f"{i}\n\n", math.log(rng.uniform(0.2, 1.0))) for i in range(n)]
        rewards = [rng.random() for _ in range(n)]
        sure = refusal_is_certain(here, steps, rewards)
        certain += sure
        bases = [[0.0] * n] + [[math.log(rng.uniform(0.001, 1.0)) for _ in range(n)] for _ in range(12)]
        bases += [[-30.0] * i + [0.0] + [-30.0] * (n - i - 1) for i in range(n)]  # all but one are impossible
        verdicts = [_verdict(here, steps, rewards, base) for base in bases]
        if sure:
            assert not any(isinstance(verdict, Commit) for verdict in verdicts)
        elif method in ("gsi", "gsi-ic", "rsd"):
            assert any(isinstance(verdict, Commit) for verdict in verdicts)
    assert 20 < certain < 100 if method != "gsi-no-fallback" else not certain


def _verdict(here: StepContext, steps: list[Step], rewards: list[float], base: list[float]) -> Any:
    scores = [Score(value) for value in base] if here.method.uses_score else None
    return Judging.of(here, steps).judged(rewards, scores).verdict(here.chooser)


def test_part_of_a_scan_makes_nothing_certain() -> None:
    here = context(method="expgsi", threshold=9.0)
    steps = [table_step(f"{i}\n\n", -1.0) for i in range(4)]
    assert refusal_is_certain(here, steps, [0.1] * 4) and not refusal_is_certain(here, steps, [0.1] * 3)
