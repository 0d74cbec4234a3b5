"""gsi_node.testing: a sound model passes every check, and each planted mistake is caught by the check for it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gsi_node import StepModelBase
from gsi_node.errors import ConfigError, ContractBroken, GSIError, LawMismatch
from gsi_node.step.check import check_models
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.tables.models import TokenTable
from gsi_node.testing import CHECKS, Subject, check_step_model
from gsi_node.testing import models as checks
from gsi_node.testing.models import LAW
from gsi_node.types import PARAGRAPH, Ends, Key, Prefix, SamplingLaw, Score, Step

TOKENS = ("a", "b", ".\n\n", "<eos>")


def table(prefix: Prefix, ids: tuple[int, ...]) -> Sequence[float]:
    return (0.4, 0.2, 0.3, 0.1) if len(prefix.steps) % 2 == 0 else (0.2, 0.4, 0.2, 0.2)


class Sound(StepModelBase):
    """A token table with nothing wrong; mutants change one method."""

    vocabulary = str(TOKENS)
    eos_ids = (3,)

    def __init__(self) -> None:
        self.table = TokenTable(TOKENS, table, eos=3)

    def supports(self, law: SamplingLaw) -> None:
        self.table.supports(law)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        return self.table.step_of(prefix, token_ids, log_prob)

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return self.table.sample(prefix, n, key, law)

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return self.table.score(prefix, steps, law)

    @property
    def fingerprint(self) -> str:
        return "sound"


class ScoreOff(Sound):
    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return [Score(score.log_prob - 1e-3) for score in super().score(prefix, steps, law)]


class EndNotScored(Sound):
    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return super().score(prefix, [replace(step, token_ids=step.token_ids[:-1]) for step in steps], law)


class BatchScoresDiffer(Sound):
    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return [Score(s.log_prob - 1e-3 * (len(steps) > 1)) for s in super().score(prefix, steps, law)]


class BatchDrawsDiffer(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, replace(key, step=key.step + 10 * n), law)


class CacheStale(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Prefix] = {}

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        first = self.seen.setdefault(prefix.problem, prefix)  # keeps the first prefix of a problem
        return super().score(first, steps, law)


class CacheStaleDraws(CacheStale):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        first = self.seen.setdefault(prefix.problem, prefix)
        return super().sample(first, n, key, law)

    score = Sound.score


class KeyIgnored(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, Key(0, "", len(prefix.steps), ""), law)


class PhaseIgnored(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key.at(""), law)


class GlobalGenerator(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, replace(key, seed=random.randrange(1 << 30)), law)


class OneStreamForAll(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, 1, key, law) * n


class PairsAlike(Sound):
    """Candidates 2i and 2i + 1 share a stream: not all alike, and yet not independent."""

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        drawn = super().sample(prefix, n, key, law)
        return [drawn[i - i % 2] for i in range(n)]


class NeverAlike(Sound):
    """A candidate that is already there is drawn again."""

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        kept: list[Step] = []
        for candidate in range(n):
            drawn = super().sample(prefix, 16, replace(key, step=key.step + 100 * (candidate + 1)), law)
            others = [step for step in drawn if all(step.token_ids != k.token_ids for k in kept[-11:])]
            kept.append((others or drawn)[0])
        return kept


class GoesOn(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key, replace(law, ends=Ends(())))


class EndsEarly(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key, replace(law, ends=Ends(("b", *law.ends.strings))))


class AlwaysParagraphs(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key, replace(law, ends=PARAGRAPH))


class BlankLines(Sound):
    def __init__(self) -> None:
        self.table = TokenTable(("a", "\n", ".\n", "<eos>"), table, eos=3)

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key, replace(law, ends=replace(law.ends, after_text=False)))


class NotCut(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key, replace(law, max_step_tokens=24))


class EosForgotten(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return [replace(step, finished=False) for step in super().sample(prefix, n, key, law)]


class OneMissing(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return super().sample(prefix, n, key, law)[: max(1, n - 1)]


class ScoresMissing(Sound):
    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return super().score(prefix, steps, law)[:1]


class AwaitedDraws(Sound):
    async def sample(self, *args: Any) -> Any:  # type: ignore[override]
        return super().sample(*args)


class NoScores(Sound):
    def score(self, *args: Any) -> Any:
        return None


class ProbabilityForLogProb(Sound):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return [replace(s, log_prob=math.exp(s.log_prob)) for s in super().sample(prefix, n, key, law)]


class AnotherEachTime(Sound):
    @property
    def fingerprint(self) -> str:
        return f"{id(self)}"


MUTANTS: list[tuple[type[Sound], Callable[[Subject], None], str]] = [
    (AwaitedDraws, checks.check_shape, "sample returned a coroutine: make it synchronous"),
    (NoScores, checks.check_shape, "score returned None, a NoneType: want a list of one Score a candidate"),
    (ScoreOff, checks.check_score_is_log_prob, "nats apart; at most"),
    (EndNotScored, checks.check_score_is_log_prob, "nats apart; at most"),
    (BatchScoresDiffer, checks.check_batch_is_singles, "nats apart; at most"),
    (BatchDrawsDiffer, checks.check_batch_is_singles, "1 and 8 candidates: one key gives"),
    (CacheStale, checks.check_cached_is_cold, "nats apart; at most"),
    (CacheStaleDraws, checks.check_cached_is_cold, "a model that has worked and a new one: one key gives"),
    (KeyIgnored, checks.check_keys, "gives the same 16 steps as"),
    (PhaseIgnored, checks.check_keys, "phase='x'.* gives the same 16 steps as"),
    (GlobalGenerator, checks.check_keys, "the same key gives other steps the second time"),
    (OneStreamForAll, checks.check_keys, "16 candidates are all alike"),
    (PairsAlike, checks.check_independent, r"alike \+.* too often for independent ones"),
    (NeverAlike, checks.check_independent, r"alike -.* too often for independent ones"),
    (GoesOn, checks.check_step_ends, "goes on after a step end"),
    (EndsEarly, checks.check_step_ends, "ends before its end, and is not cut"),
    (EosForgotten, checks.check_step_ends, "finished=False, but it ends with id 3"),
    (NotCut, checks.check_cut, "the longest of 16 steps has .* tokens where max_step_tokens is 1"),
    (OneMissing, checks.check_shape, "2 steps where 3 were asked for"),
    (ScoresMissing, checks.check_score_is_log_prob, "1 numbers for 8 steps"),
    (ProbabilityForLogProb, checks.check_shape, "was drawn at log-probability 0"),
    (AnotherEachTime, checks.check_shape, "fingerprint: two models made alike"),
]


def subject(kind: type[Sound]) -> Subject:
    return Subject(kind, 1e-9, eos=3)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_model_passes(check: Callable[[Subject], None]) -> None:
    check(subject(Sound))


@pytest.mark.parametrize(("kind", "check", "told"), MUTANTS, ids=[kind.__name__ for kind, _, _ in MUTANTS])
def test_a_mistake_is_caught_by_its_check(kind: type[Sound], check: Callable[[Subject], None], told: str) -> None:
    with pytest.raises(ContractBroken, match=told):
        check(subject(kind))
    with pytest.raises(ContractBroken):
        check_step_model(kind, tolerance=1e-9, eos=3)


RULES = {
    "paragraph": LAW,
    "line": replace(LAW, ends=Ends(("\n",), after_text=True)),
    "tokens:3": replace(LAW, ends=Ends(()), max_step_tokens=3),
    "list": replace(LAW, ends=Ends(("ab", "\n\na"))),
}


@pytest.mark.parametrize("law", RULES.values(), ids=RULES)
def test_a_sound_model_passes_under_every_rule(law: SamplingLaw) -> None:
    check_step_model(Sound, tolerance=1e-9, eos=3, law=law)
    check_step_model(lambda: TokenTable(TOKENS, table, eos=3), tolerance=1e-9, eos=3, law=law)


class NoEndScored(TokenTable):
    """Scores whatever it is given."""

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return super().score(prefix, steps, replace(law, ends=Ends(())))


@pytest.mark.parametrize(
    ("kind", "rule", "told"),
    [
        (AlwaysParagraphs, "list", "goes on after a step end|ends before its end"),
        (AlwaysParagraphs, "tokens:3", "ends before its end"),
        (GoesOn, "line", "goes on after a step end"),
        (BlankLines, "line", "ends before its end"),
    ],
)
def test_a_rule_that_is_not_followed_is_caught(kind: type[Sound], rule: str, told: str) -> None:
    with pytest.raises(ContractBroken, match=told):
        checks.check_step_ends(Subject(kind, 1e-9, RULES[rule], eos=3))


def test_scores_beyond_an_end_are_caught() -> None:
    with pytest.raises(ContractBroken, match="a step that goes on after its end scores -.*, not -inf"):
        checks.check_step_ends(Subject(lambda: NoEndScored(TOKENS, table, eos=3), 1e-9, LAW, eos=3))


def test_a_model_of_ones_own_has_paragraphs_until_it_says_more() -> None:
    class Own(Sound):
        supports = StepModelBase.supports

    Own().supports(LAW)
    for rule in ("line", "tokens:3", ("a",)):
        with pytest.raises(LawMismatch, match="Own does not say that its steps end at .*define supports"):
            check_models(Models(Own()), GSIConfig(method="draft", step_end=rule))


def test_every_check_has_a_mutant() -> None:
    assert {check for _, check, _ in MUTANTS} == set(CHECKS)


def test_what_is_broken_is_an_assertion_and_an_error_of_ours() -> None:
    assert issubclass(ContractBroken, AssertionError) and issubclass(ContractBroken, GSIError)
    with pytest.raises(ConfigError, match="the model: object lacks|the model: want an object"):
        check_step_model(object)  # type: ignore[arg-type]
