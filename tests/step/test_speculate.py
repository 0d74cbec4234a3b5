"""Speculative decoding has the base's own law, by enumeration of its decisions on token tables; mutants; costs."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from gsi_node.core.choose import KeyedChooser
from gsi_node.core.enumerate import outcomes
from gsi_node.errors import ConfigError, InvalidLogProb
from gsi_node.protocols import StepModel, TokenModel
from gsi_node.step import speculate as room
from gsi_node.step.calls import run
from gsi_node.step.speculate import SpeculativeModel, speculate
from gsi_node.tables.models import TokenTable
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.token_world import EOS, TOKENS, chain, tables

LIMIT = 3
LAW = SamplingLaw(1.0, 1.0, LIMIT)
X = Prefix("p")
KEY = Key(0, "p", 0, "draft")


def own_law(table: Any, prefix: Prefix = X) -> dict[tuple[int, ...], float]:
    """π(y | x) of every step, multiplied out token by token."""
    law: dict[tuple[int, ...], float] = {}

    def grow(ids: tuple[int, ...], mass: float) -> None:
        if ids and (ids[-1] in (2, EOS) or len(ids) == LIMIT):
            law[ids] = mass
            return
        for token, p in enumerate(table(prefix, ids)):
            if p > 0.0:
                grow((*ids, token), mass * p)

    grow((), 1.0)
    return law


def found_law(draft: TokenTable, base: TokenTable, gamma: int, n: int = 1) -> dict[Any, float]:
    law: defaultdict[Any, float] = defaultdict(float)

    def one_run(chooser: Any) -> list[Step]:
        return run(speculate(draft, base, X, n, LAW, gamma=gamma, chooser_of=lambda i: chooser))[0]

    for steps, p in outcomes(one_run):
        law[steps[0].token_ids if n == 1 else tuple(step.token_ids for step in steps)] += p
    return law


def check(gamma: int = 2) -> None:
    for seed, holes in ((0, False), (1, True), (2, True)):
        draft, base = tables(seed, holes)
        law, want = found_law(draft, base, gamma), own_law(chain(2 * seed + 2, holes))
        assert law.keys() == want.keys()
        assert max(abs(law[ids] - want[ids]) for ids in want) < 1e-12


@pytest.mark.parametrize("gamma", [1, 2, 3, 7])
def test_the_law_is_the_bases_own(gamma: int) -> None:
    check(gamma)


def test_two_candidates_are_independent() -> None:
    def short(prefix: Prefix, ids: tuple[int, ...]) -> list[float]:
        return [0.0, 0.2, 0.5, 0.3] if not ids else [0.0, 0.0, 0.6, 0.4]

    def other(prefix: Prefix, ids: tuple[int, ...]) -> list[float]:
        return [0.0, 0.6, 0.1, 0.3] if not ids else [0.0, 0.0, 0.1, 0.9]

    law = found_law(TokenTable(TOKENS, other, eos=EOS), TokenTable(TOKENS, short, eos=EOS), 2, n=2)
    alone = own_law(short)
    assert all(abs(law[one, two] - alone[one] * alone[two]) < 1e-12 for one in alone for two in alone)


def test_models_without_a_common_token_still_give_the_bases_law() -> None:
    draft = TokenTable(TOKENS, lambda prefix, ids: [1.0, 0.0, 0.0, 0.0], eos=EOS)
    base = TokenTable(TOKENS, lambda prefix, ids: [0.0, 0.5, 0.5, 0.0], eos=EOS)
    law = found_law(draft, base, 2)
    assert law[(2,)] == pytest.approx(0.5) and law[(1, 1, 1)] == pytest.approx(0.125)


def test_log_probs_are_the_bases_and_keys_name_the_steps() -> None:
    draft, base = tables()
    model = SpeculativeModel(draft, base, 3)
    steps = model.sample(X, 5, KEY, LAW)
    for step, score in zip(steps, base.score(X, steps, LAW), strict=True):
        assert step.log_prob == pytest.approx(score.log_prob, abs=1e-12)
        assert step == base.step_of(X, step.token_ids, step.log_prob)
        assert math.exp(step.log_prob) == pytest.approx(own_law(chain(2))[step.token_ids])
    assert model.sample(X, 2, KEY, LAW) == steps[:2]  # whoever shares the batch
    assert model.sample(X, 5, KEY.at("other"), LAW) != steps
    assert model.score(X, steps, LAW) == base.score(X, steps, LAW)


async def test_it_is_a_step_model() -> None:
    draft, base = tables()
    model = SpeculativeModel(draft, base)
    assert all(isinstance(thing, StepModel) for thing in (model, base))
    assert [isinstance(thing, TokenModel) for thing in (model, base)] == [False, True]
    assert await model.asample(X, 2, KEY, LAW) == model.sample(X, 2, KEY, LAW)
    assert (model.vocabulary, model.eos_ids) == (base.vocabulary, base.eos_ids)
    assert model.encode("ab.\n\n") == (0, 1, 2)
    assert model.fingerprint != SpeculativeModel(draft, base, 5).fingerprint
    model.supports(LAW)
    with pytest.raises(ConfigError, match="gamma"):
        SpeculativeModel(draft, base, 0)


def test_a_token_tables_own_samples_follow_it() -> None:
    law: defaultdict[Any, float] = defaultdict(float)

    def one_run(chooser: Any) -> tuple[int, ...]:
        table = TokenTable(TOKENS, chain(2), eos=EOS, chooser=lambda key, i: chooser)
        return table.sample(X, 1, KEY, LAW)[0].token_ids

    for ids, p in outcomes(one_run):
        law[ids] += p
    assert law == pytest.approx(own_law(chain(2)), abs=1e-12)


def test_equal_models_accept_everything_and_each_position_is_charged_once() -> None:
    table = TokenTable(TOKENS, lambda prefix, ids: [1.0, 0.0, 0.0, 0.0], eos=EOS)
    law = SamplingLaw(1.0, 1.0, 7)
    _, bill = run(speculate(table, table, X, 2, law, gamma=2, chooser_of=lambda i: KeyedChooser(KEY, i)))
    # 7 tokens: 2 drafted + 1 bonus, 2 drafted + 1 bonus, and 1 drafted, which ends the step
    assert (bill["draft"].generated_tokens, bill["draft"].scored_tokens, bill["draft"].calls) == (10, 0, 5)
    assert (bill["base"].generated_tokens, bill["base"].scored_tokens, bill["base"].calls) == (4, 10, 3)


def test_a_nan_is_named() -> None:
    class Broken(TokenTable):
        def next_log_probs(self, *args: Any) -> Any:
            return [np.full_like(law, math.nan) for law in super().next_log_probs(*args)]

    draft, _ = tables()
    with pytest.raises(InvalidLogProb, match="base model broken"):
        SpeculativeModel(draft, Broken(TOKENS, chain(1), eos=EOS, name="broken")).sample(X, 1, KEY, LAW)


def test_the_residual_survives_rounding() -> None:
    p = np.log([0.5, 0.5])
    assert room.residual(p, p + 1e-17).tolist() == p.tolist()
    assert room.residual(np.log([0.7, 0.3]), np.log([0.4, 0.6])).tolist() == pytest.approx([math.log(0.3), -math.inf])


# --- mutants ---------------------------------------------------------------------------------------------------------


def dies(gamma: int = 2) -> None:
    with pytest.raises(AssertionError):
        check(gamma)


def test_mutant_that_corrects_from_the_base_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "residual", lambda p, q: p)
    dies()


def test_mutant_that_corrects_from_the_wrong_side_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_residual = room.residual
    monkeypatch.setattr(room, "residual", lambda p, q: true_residual(q, p))
    dies()


def test_mutant_that_reads_one_position_too_far_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_verify = room._Row.verify
    monkeypatch.setattr(room._Row, "verify", lambda row, p: true_verify(row, np.concatenate((p[1:], p[-1:]))))
    dies()


def test_mutant_that_ignores_the_drafts_probability_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_propose = room._Row.propose

    def propose(row: Any, q: Any) -> None:
        true_propose(row, q)
        row.laws[-1] = np.zeros_like(q)

    monkeypatch.setattr(room._Row, "propose", propose)
    dies(1)
