"""Under every rule of step ends: token tables sample and score the steps that string search allows, and each method has
the law that its formula makes of them. Mutants that end early or late, or keep a state over a step's end."""

from __future__ import annotations

import ast
import math
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import pytest

from gsi_node.core.enumerate import outcomes
from gsi_node.graph.build import compile_gsi
from gsi_node.step import decide
from gsi_node.step.calls import run
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.judging import Commit
from gsi_node.step.methods import METHODS
from gsi_node.step.records import next_context
from gsi_node.step.solve import solve
from gsi_node.step.speculate import speculate
from gsi_node.tables.models import TokenTable
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests import oracles
from tests.step_ends import first_end, step_law

TOKENS = ("\n", "a", "\n#", " .", "")
EOS, LIMIT = 4, 4
AFTER = {None: (0, 1, 2), 0: (0, 2, 3), 1: (0, 2, 3, 4), 2: (0, 1, 4), 3: (0, 1), EOS: (1,)}
FEWER = {None: (0, 1), 0: (0, 2), 1: (2, 4), 2: (1, 4), EOS: (1,)}
"""What may come behind which token: few enough to enumerate all, and pairs of all."""
RULES: dict[str, Any] = {
    "paragraph": "paragraph",
    "line": "line",
    "tokens:2": "tokens:2",
    "spanning": ["\n .", "#a"],
    "overlapping": ["a\n\n\n", "\n\n .", " .a"],
    "one": ["\n#"],
}
KEY = Key(0, "p", 0, "draft")
PREFIXES = (
    Prefix("p"),
    Prefix("p", (Step("a\n", (1, 0), 0.0, False),)),  # cut where an end had begun
    Prefix("p", (Step("a\n\n", (1, 0, 0), 0.0, False), Step("\n#", (2,), 0.0, False))),
)
Law = dict[tuple[int, ...], float]


def chain(seed: int, after: Any = AFTER) -> Callable[[Prefix, tuple[int, ...]], list[float]]:
    """Next-token probabilities that depend on all that came before."""

    @lru_cache(1000)
    def table(prefix: Prefix, ids: tuple[int, ...]) -> list[float]:
        rng = random.Random(f"{seed} {prefix.text} {ids}")
        may = after[ids[-1] if ids else None]
        raw = [rng.random() + 0.1 if token in may else 0.0 for token in range(len(TOKENS))]
        return [value / sum(raw) for value in raw]

    return table


def ended_by(rule: str) -> Callable[[tuple[int, ...]], int | None]:
    """String search for the rule's ends."""
    strings, after_text, most = {
        "paragraph": (["\n\n"], False, None),
        "line": (["\n"], True, None),
        "tokens:2": ([], False, 2),
    }.get(rule, (RULES[rule], False, None))
    own = [text.encode() for text in TOKENS]

    def end(ids: tuple[int, ...]) -> int | None:
        found = first_end(own, ids, strings, after_text, {EOS})
        return most if found is None and most is not None and len(ids) >= most else found

    return end


def law_of(rule: str, seed: int, prefix: Prefix = PREFIXES[0], after: Any = AFTER, limit: int = LIMIT) -> Law:
    """The oracle's."""
    return step_law(lambda ids: chain(seed, after)(prefix, ids), ended_by(rule), limit)


class Replayed:
    """The chooser of the replay that runs now, for tables that are made once."""

    def __init__(self) -> None:
        self.now: Any = None

    def __call__(self, key: Key, candidate: int) -> Any:
        return self.now

    def table(self, seed: int, after: Any = AFTER) -> TokenTable:
        return TokenTable(TOKENS, chain(seed, after), eos=EOS, chooser=self, name=str(seed))

    def law(self, one_run: Callable[[], Any]) -> dict[Any, float]:
        """What it returns, each with its probability."""
        law: defaultdict[Any, float] = defaultdict(float)

        def replay(chooser: Any) -> Any:
            self.now = chooser
            return one_run()

        for value, p in outcomes(replay):
            law[value] += p
        return law


def sampling(rule: str) -> SamplingLaw:
    return GSIConfig(step_end=RULES[rule], max_step_tokens=LIMIT).law(eos_ids=(EOS,))


def same(found: Any, wanted: Any) -> None:
    assert found.keys() == wanted.keys()
    assert max(abs(found[y] - wanted[y]) for y in wanted) < 1e-12


def sampled(rule: str, prefix: Prefix) -> Law:
    """What a token table draws, by enumeration of its choices, each with its own log-probability."""
    replayed = Replayed()
    table, law = replayed.table(1), sampling(rule)
    found = replayed.law(lambda: table.sample(prefix, 1, KEY, law)[0])
    for step, p in found.items():
        assert math.isclose(math.exp(step.log_prob), p)
        assert step.text == "".join(TOKENS[i] for i in step.token_ids)
        assert step.finished == (step.token_ids[-1] == EOS)
    return {step.token_ids: p for step, p in found.items()}


def check_sampled(rule: str) -> None:
    for prefix in PREFIXES:
        same(sampled(rule, prefix), law_of(rule, 1, prefix))


@pytest.mark.parametrize("rule", RULES)
def test_a_token_table_samples_the_steps_of_the_rule(rule: str) -> None:
    check_sampled(rule)
    assert math.isclose(math.fsum(law_of(rule, 1).values()), 1.0)


def check_scored(rule: str) -> None:
    table, law, end = TokenTable(TOKENS, chain(1), eos=EOS), sampling(rule), ended_by(rule)
    for prefix in PREFIXES:
        wanted = law_of(rule, 1, prefix)
        steps = [Step("", ids, 0.0, False) for ids in wanted]
        for score, p in zip(table.score(prefix, steps, law), wanted.values(), strict=True):
            assert math.isclose(math.exp(score.log_prob), p)
        beyond = [Step("", (*ids, 0), 0.0, False) for ids in wanted if rule != "tokens:2" and end(ids) is not None]
        beyond += [Step("", (EOS, 0), 0.0, False), Step("", (1, EOS, EOS), 0.0, False)]
        assert [score.log_prob for score in table.score(prefix, beyond, law)] == [-math.inf] * len(beyond)


@pytest.mark.parametrize("rule", RULES)
def test_a_token_table_scores_them_and_nothing_beyond_an_end(rule: str) -> None:
    check_scored(rule)


def test_candidates_begin_anew() -> None:
    """The second of two has the law of the first."""
    replayed = Replayed()
    table, short = replayed.table(1, FEWER), SamplingLaw(max_step_tokens=3, eos_ids=(EOS,))
    found = replayed.law(lambda: table.sample(PREFIXES[0], 2, KEY, short)[1].token_ids)
    same(found, law_of("paragraph", 1, PREFIXES[0], FEWER, 3))


def check_speculated(rule: str) -> None:
    replayed = Replayed()
    draft, base, law = replayed.table(2, FEWER), replayed.table(1, FEWER), sampling(rule)
    for prefix in PREFIXES[:2]:
        stage = partial(speculate, draft, base, prefix, 1, law, gamma=2, chooser_of=lambda i: replayed.now)
        found = replayed.law(lambda stage=stage: run(stage())[0][0])  # type: ignore[misc]
        wanted = law_of(rule, 1, prefix, FEWER)
        same({step.token_ids: p for step, p in found.items()}, wanted)
        assert all(math.isclose(math.exp(step.log_prob), wanted[step.token_ids]) for step in found)


@pytest.mark.parametrize("rule", RULES)
def test_a_speculated_step_has_the_bases_law(rule: str) -> None:
    check_speculated(rule)


SETTINGS: dict[str, Any] = {"beta": 3.0, "threshold": 0.5, "delta": 0.5, "n": 2, "max_step_tokens": 3, "gamma": 2}


def reward_of(text: str) -> float:
    return random.Random(text).choice([0.1, 0.4, 0.6, 0.9])


def half(method: str, rule: str, *, falls_back: bool) -> dict[Any, float]:
    """The law of what a method's proposal, or its fallback, commits; None: it is refused."""
    replayed, config = Replayed(), GSIConfig(**SETTINGS, method=method, step_end=RULES[rule])
    reward = TableReward(lambda prefix, step: reward_of(step.text), range=(0.1, 0.9))
    models = Models(replayed.table(2, FEWER), replayed.table(1, FEWER), reward)
    start = next_context(models, config, PREFIXES[1], "p", [])
    context = replace(start, prefix=PREFIXES[1], falls_back=falls_back, choosers=replayed)

    def settled() -> Any:
        return (yield from decide.settle(context, (yield from decide.propose(context))))  # type: ignore[arg-type]

    def committed() -> Any:
        judging, verdict = run(settled())[0]
        return judging.steps[verdict.chosen].token_ids if isinstance(verdict, Commit) else None

    return replayed.law(committed)


def check_method(method: str, rule: str) -> None:
    """Steps are named by their ids, as texts, for the formulas."""
    found = half(method, rule, falls_back=False)
    if refused := found.pop(None, 0.0):
        for ids, p in half(method, rule, falls_back=True).items():
            found[ids] += refused * p
    laws = [law_of(rule, seed, PREFIXES[1], FEWER, 3) for seed in (2, 1)]
    draft, base = ({str(ids): p for ids, p in law.items()} for law in laws)
    rewards = {str(ids): reward_of("".join(TOKENS[i] for i in ids)) for ids in laws[0]}
    wanted = oracles.step_law(
        method,
        draft,
        base,
        rewards,
        n=2,
        m=2,
        beta=3.0,
        u=0.5,
        delta=0.5,
        log_c=1.5,
        clip=GSIConfig().log_ratio_clip,
        tokens=lambda text: len(ast.literal_eval(text)),
    )
    same({str(ids): p for ids, p in found.items()}, {ids: p for ids, p in wanted.items() if p > 0.0})


@pytest.mark.parametrize("rule", ["paragraph", "line", "tokens:2", "one"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_the_law_of_its_formula(method: str, rule: str) -> None:
    check_method(method, rule)


@pytest.mark.parametrize("rule", RULES)
def test_the_node_and_the_plain_loop_end_steps_by_the_rule(rule: str) -> None:
    draft, base = (TokenTable(TOKENS, chain(seed), eos=EOS, name=str(seed)) for seed in (2, 1))
    reward, end = TableReward(lambda prefix, step: reward_of(step.text), range=(0.1, 0.9)), ended_by(rule)
    lengths = set()
    for seed in range(6):
        config = GSIConfig(**{**SETTINGS, "max_step_tokens": 6}, step_end=RULES[rule], seed=seed, max_steps=5)
        found = compile_gsi(draft=draft, base=base, reward=reward, config=config).invoke({"problem": "p"})
        assert found["response"] == solve("p", Models(draft, base, reward), config).response
        for record in found["steps"]:
            ids = tuple(record["token_ids"])
            assert end(ids) in (len(ids), None if len(ids) == 6 else len(ids))
            lengths.add(len(ids))
    assert len(lengths) > 1 or rule == "tokens:2"
