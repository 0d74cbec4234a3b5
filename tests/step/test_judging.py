"""The judging machine by itself, rules as records that tell the truth, and mutants planted in the machine."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gsi_node.core.choose import KeyedChooser
from gsi_node.errors import ConfigError
from gsi_node.step import judging as machine
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import StepContext
from gsi_node.step.fields import Settings
from gsi_node.step.judging import Commit, Continue, Judging, Refuse, tilt
from gsi_node.step.methods import METHODS, Method
from gsi_node.step.rules import EXPONENTIAL, MEAN_WEIGHT, PLAIN_REWARD, REWARD, SOFTMAX, TILTED_REWARD, Rule
from gsi_node.types import Key, Score, Step
from tests.step.test_law import check
from tests.step.test_scan import law, want

STEPS = [Step(text, (1,), math.log(0.5), False) for text in "abcde"]
REWARDS = [0.9, 0.2, 0.5, 0.1, 0.7]
SCORES = [Score(math.log(p)) for p in (0.5, 0.4, 0.3, 0.2, 0.1)]


def choosers(phase: str, candidate: int) -> KeyedChooser:
    return KeyedChooser(Key(0, "p", 0, phase), candidate)


def test_all_at_once() -> None:
    now = Judging(METHODS["gsi"], GSIConfig(threshold=-9.0), STEPS)
    assert now.next_chunk() == STEPS
    done = now.judged(REWARDS, SCORES)
    assert (now.count, done.count, done.decided) == (0, 5, 0)  # a pure value: the first is as it was
    assert isinstance(done.verdict(choosers), Commit)
    assert done.verdict(choosers) == done.verdict(choosers)
    refused = replace(done, settings=GSIConfig(threshold=9.0)).verdict(choosers)
    assert isinstance(refused, Refuse) and refused.why == "rule" and refused.chosen is not None
    impossible = now.judged(REWARDS, [Score(-math.inf)] * 5).verdict(choosers)
    assert impossible == Refuse("weights")
    assert Judging(METHODS["base"], GSIConfig(), STEPS[:1]).judged(None, None).verdict(choosers) == Commit(0)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_chunk_by_chunk(size: int) -> None:
    now = Judging(METHODS["expgsi"], GSIConfig(chunk_size=size, threshold=-9.0), STEPS, envelope=1e9)  # nobody hits
    seen: list[Step] = []
    while True:
        seen += now.next_chunk()
        before, now = now.count, now.judged(REWARDS[: len(seen)], SCORES[: len(seen)])
        assert (now.decided, now.count) == (before, len(seen))
        verdict = now.verdict(choosers)
        if not isinstance(verdict, Continue):
            break
        assert verdict.judged == len(seen) < 5
    assert seen == STEPS and isinstance(verdict, Commit) and verdict.hit is False


# --- what a rule says of itself is true -----------------------------------------------------------------------------


class Watched:
    """Settings that note which of their fields are read."""

    def __init__(self) -> None:
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        fields = ("log_c", "beta", "threshold") if name == "resolved_log_c" else (name,)
        self.read |= {*fields}
        return getattr(GSIConfig(), name)


def read_by(method: Method, rule: Rule, scores: bool) -> set[str]:
    """The settings that a rule's functions look at."""
    batch = tilt(method, STEPS, REWARDS if method.uses_reward else None, SCORES if scores else None, GSIConfig())
    watched: Any = Watched()
    if rule is method.weigh:
        method.weigh.compute(batch, watched)
        if method.weigh.bound is not None:
            method.weigh.bound(1.0, watched)
    elif rule is method.accept:
        method.accept.compute(batch, 0, watched)
        numbers = dict.fromkeys(("tilted_reward", "reward", "log_mean_weight"), 0.0)
        assert method.accept.refusal(numbers, watched)
        if method.accept.knob is not None:
            method.accept.knob.now(watched)
    return {name for name in watched.read if name in Settings.model_fields}


@pytest.mark.parametrize("name", METHODS)
def test_rules_read_what_they_say_and_need_what_they_ask(name: str) -> None:
    method = METHODS[name]
    for rule in method.rules:
        if rule is not method.choose:  # a choice sees weights alone; what it reads is how the machine cuts chunks
            assert read_by(method, rule, method.uses_score) == set(rule.reads)
        if rule.needs & {"ratio", "score"}:
            with pytest.raises(AssertionError):
                read_by(method, rule, scores=False)


def test_rules_that_cannot_go_together_are_refused() -> None:
    base = METHODS["sbon-base"]
    with pytest.raises(ConfigError, match="method odd: scans, but its weights have no bound"):
        Method("odd", "draft", TILTED_REWARD, EXPONENTIAL)
    with pytest.raises(ConfigError, match="method odd: refuses candidates, but has no fallback"):
        Method("odd", "draft", TILTED_REWARD, SOFTMAX, MEAN_WEIGHT)
    with pytest.raises(ConfigError, match="method odd: accepts by the mean weight of a batch, but has no such weights"):
        Method("odd", "draft", PLAIN_REWARD, SOFTMAX, MEAN_WEIGHT, base)
    for fallback in ("sbon-draft", "gsi"):
        with pytest.raises(ConfigError, match=f"its fallback {fallback} has to commit a step of the base"):
            Method("odd", "draft", REWARD, SOFTMAX, METHODS["rsd-n"].accept, METHODS[fallback])


# --- mutants: each must break a law ---------------------------------------------------------------------------------


def dies(method: str = "gsi", **fields: Any) -> None:
    with pytest.raises(AssertionError):
        if method == "expgsi":
            assert law(log_ratio_clip=0.8, **fields) == pytest.approx(want(clip=0.8), abs=1e-12)
        check(method, 2)


def test_mutant_that_asks_the_earlier_ones_again_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true = Judging.judged
    monkeypatch.setattr(Judging, "judged", lambda now, *known: replace(true(now, *known), decided=0))
    dies("expgsi", chunk_size=1)
    with pytest.raises(AssertionError):
        test_chunk_by_chunk(2)


def test_mutant_that_judges_the_first_chunk_for_every_one_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judging, "next_chunk", lambda now: now.steps[: now.settings.chunk_size])
    dies("expgsi", chunk_size=1)


def test_mutant_that_decides_before_the_last_chunk_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true = Judging.verdict

    def verdict(now: Judging, chooser_of: Any) -> Any:
        found = true(now, chooser_of)
        return Commit(0, False) if isinstance(found, Continue) else found

    monkeypatch.setattr(Judging, "verdict", verdict)
    dies("expgsi", chunk_size=1)


def test_mutant_that_commits_what_is_refused_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true = Judging.verdict

    def verdict(now: Judging, chooser_of: Any) -> Any:
        found = true(now, chooser_of)
        return Commit(found.chosen or 0) if isinstance(found, Refuse) else found

    monkeypatch.setattr(Judging, "verdict", verdict)
    for method in ("gsi", "gsi-ic", "rsd", "rsd-n"):
        dies(method)


def test_mutant_whose_choice_and_acceptance_see_other_batches_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true = machine.accept
    monkeypatch.setattr(
        machine, "accept", lambda rule, batch, chosen, *rest: true(rule, batch, len(batch.rewards) - 1 - chosen, *rest)
    )
    dies()
    dies("rsd-n")


def test_mutant_that_falls_back_with_the_drafts_n_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepContext, "n", property(lambda self: self.config.n))
    with pytest.raises(AssertionError):
        check("gsi", 2, m=3)
