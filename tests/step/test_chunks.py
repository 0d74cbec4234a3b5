"""cgs and lgs (arXiv 2606.01682): short steps, chosen by ℓ or the base's log-probability a token, and no reward."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsi_node import Models, StepModelBase, compile_gsi, exact_step_law, solve
from gsi_node.errors import ConfigError, DegenerateWeights, LawMismatch
from gsi_node.step.check import check_models
from gsi_node.step.config import GSIConfig
from gsi_node.step.judging import tilt
from gsi_node.step.methods import METHODS
from gsi_node.step.rules import LOG_RATIO, SCORE_A_TOKEN, CandidateBatch
from gsi_node.tables.models import TableModel
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step
from tests import oracles
from tests.graph.world import models
from tests.step.test_law import check

TEXTS = ("a", "bbb", "cc", "ddddddd")


def tables(seed: int) -> list[dict[str, float]]:
    """Draft, base, and rewards of texts of several lengths."""
    rng, made = random.Random(seed), []
    for _ in range(2):
        raw = [rng.random() + 0.02 for _ in TEXTS]
        made.append(dict(zip(TEXTS, (value / sum(raw) for value in raw), strict=True)))
    return [*made, {text: rng.random() for text in TEXTS}]


def check_lengths(method: str) -> None:
    for seed in range(6):
        draft, base, reward = tables(seed)
        for n in (1, 2, 3, 4):
            law = exact_step_law(
                method, draft=draft, base=base, reward=reward, config=GSIConfig(method=method, n=n, beta=0.0)
            )
            more: Any = {"n": n, "m": n, "beta": 1.0, "u": 0.0, "delta": 0.0, "log_c": 0.0}
            assert law == pytest.approx(oracles.step_law(method, draft, base, reward, **more), abs=1e-12)


@pytest.mark.parametrize("method", ["cgs", "lgs"])
def test_law_of_steps_of_several_lengths(method: str) -> None:
    check_lengths(method)


def plain_score(batch: CandidateBatch, settings: Any) -> Any:
    return batch.scores


@pytest.mark.parametrize(("method", "wrong"), [("lgs", plain_score), ("cgs", plain_score)])
def test_mutant_with_the_plain_score_dies(method: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = METHODS[method].weigh
    assert rule is not None
    monkeypatch.setitem(METHODS, method, replace(METHODS[method], weigh=replace(rule, compute=wrong)))
    with pytest.raises(AssertionError):
        check_lengths(method)


def test_mutant_that_takes_the_least_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("cgs", "lgs"):
        least = replace(METHODS[method].choose, compute=lambda log_w, chooser: int(np.argmin(log_w)))
        monkeypatch.setitem(METHODS, method, replace(METHODS[method], choose=least))
        with pytest.raises(AssertionError):
            check(method, 2)


def test_all_that_the_base_cannot_make_is_an_error() -> None:
    apart: Any = {"draft": {"a": 1.0, "b": 0.0}, "base": {"a": 0.0, "b": 1.0}, "reward": {"a": 0.5, "b": 0.5}}
    for method in ("cgs", "lgs"):
        with pytest.raises(DegenerateWeights, match=method):
            exact_step_law(method, **apart, config=GSIConfig(n=2))


def test_what_they_need_is_read_off_their_rules() -> None:
    cgs, lgs = METHODS["cgs"], METHODS["lgs"]
    assert (cgs.weigh, lgs.weigh) == (LOG_RATIO, SCORE_A_TOKEN) and cgs.needs == {"ratio"} and lgs.needs == {"score"}
    assert cgs.models == lgs.models == {"draft", "base"}
    assert (cgs.uses_ratio, lgs.uses_ratio, cgs.uses_score, lgs.uses_score) == (True, False, True, True)


def test_steps_of_sixteen_tokens_cut_to_max_step_tokens() -> None:
    for method in ("cgs", "lgs"):
        assert GSIConfig(method=method).law().max_step_tokens == 16 and not GSIConfig(method=method).law().ends.strings
        assert GSIConfig(method=method, max_step_tokens=5).law().max_step_tokens == 5
        assert GSIConfig(method=method, step_end="line").law().ends.strings == ("\n",)
    with pytest.raises(ValueError, match="step_end: tokens:16 goes beyond max_step_tokens, 5"):
        GSIConfig(method="cgs", step_end="tokens:16", max_step_tokens=5)


@pytest.mark.parametrize("method", ["cgs", "lgs"])
def test_neither_a_reward_nor_beta_is_asked_for(method: str) -> None:
    own = {**models(), "reward": None}
    settings = GSIConfig(method=method, n=3, beta=0.0, step_end="paragraph")
    out = compile_gsi(**own, config=settings).invoke({"problem": "p"})
    assert solve("p", Models(**own), settings).steps == out["steps"] and set(out["usage"]) == {"draft", "base"}
    with pytest.raises(ValueError, match=f"top_p: must be 1 for method {method}"):
        GSIConfig(method=method, top_p=0.9)
    with pytest.raises(ValueError, match="beta: must be > 0 for method gsi"):
        GSIConfig(beta=0.0)


class Unscored(StepModelBase):
    """A draft that gives no log-probability of what it did not write."""

    vocabulary = TableModel.vocabulary

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return [Step(f"{'ab'[i % 2]}\n\n", (97 + i % 2, 10, 10), -1.0, False) for i in range(n)]


def test_a_draft_that_scores_nothing_serves_lgs_alone() -> None:
    own = Models(Unscored(), TableModel({"a\n\n": 0.2, "b\n\n": 0.8}))
    settings = GSIConfig(method="lgs", n=2, max_steps=2, step_end="paragraph")
    assert solve("p", own, settings).response == "b\n\nb\n\n"
    with pytest.raises(ConfigError, match="draft: Unscored lacks score"):
        check_models(own, settings.model_copy(update={"method": "cgs"}))
    with pytest.raises(ConfigError, match="base: Unscored lacks score"):
        check_models(Models(own.base, Unscored()), settings)


def test_a_bound_on_the_bases_log_probability_is_kept() -> None:
    steps, scores = [Step("a", (1, 2), -1.0, False, 0.4)], [Score(-1.0, 0.3)]
    assert tilt(METHODS["lgs"], steps, None, scores, GSIConfig(max_log_ratio_error=0.3)).log_weights == [-0.5]
    with pytest.raises(LawMismatch, match="candidate 0: its log π_B is known within 0.3 nats"):
        tilt(METHODS["lgs"], steps, None, scores, GSIConfig(max_log_ratio_error=0.2))
    with pytest.raises(LawMismatch, match="candidate 0: its log-ratio is known within 0.7 nats"):
        tilt(METHODS["cgs"], steps, None, scores, GSIConfig(max_log_ratio_error=0.6))
    assert math.isclose(tilt(METHODS["cgs"], steps, None, scores, GSIConfig(max_log_ratio_error=0.7)).log_weights[0], 0)  # type: ignore[index]
