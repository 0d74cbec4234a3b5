"""Speculative decoding over miniature transformers in float64: next-token laws, log-probabilities, costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsi_node.core.choose import KeyedChooser
from gsi_node.models.transformers import TransformersModel
from gsi_node.step.calls import run
from gsi_node.step.speculate import SpeculativeModel, speculate
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.miniature import build_miniature

KEY = Key(0, "p", 0, "draft")
LAW = SamplingLaw(temperature=0.8, max_step_tokens=9)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[TransformersModel, TransformersModel]:
    folder: Path = tmp_path_factory.mktemp("speculative")
    build_miniature(folder / "draft", dtype="float64", seed=1, hidden=16, end_bias=0.5)
    build_miniature(folder / "base", dtype="float64", seed=2, hidden=32, end_bias=0.5)
    draft, base = (TransformersModel.from_pretrained(folder / name, dtype="float64") for name in ("draft", "base"))
    return draft, base


def test_next_token_laws_add_up_to_scores(pair: Any) -> None:
    base = pair[1]
    steps = base.sample(Prefix("2 + 2"), 4, KEY, LAW)
    rows = [step.token_ids for step in steps]
    laws = base.next_log_probs(Prefix("2 + 2"), rows, [0] * 4, LAW)
    for step, law in zip(steps, laws, strict=True):
        assert law.shape == (len(step.token_ids) + 1, base.next_log_probs(Prefix(""), [()], [0], LAW)[0].shape[1])
        assert np.exp(law).sum(axis=1) == pytest.approx(1.0)
        assert sum(law[j, token] for j, token in enumerate(step.token_ids)) == pytest.approx(step.log_prob, abs=1e-9)
    (late,) = base.next_log_probs(Prefix("2 + 2"), [rows[0]], [len(rows[0]) - 1], LAW)
    assert late == pytest.approx(laws[0][-2:], abs=1e-12)


@pytest.mark.parametrize("gamma", [1, 4])
def test_samples_carry_the_bases_log_prob_and_do_not_depend_on_company(pair: Any, gamma: int) -> None:
    draft, base = pair
    model = SpeculativeModel(draft, base, gamma)
    prefix = Prefix("2 + 2").extended(base.sample(Prefix("2 + 2"), 1, KEY, LAW)[0])
    steps = model.sample(prefix, 5, KEY, LAW)
    for step, score in zip(steps, base.score(prefix, steps, LAW), strict=True):
        assert step.log_prob == pytest.approx(score.log_prob, abs=1e-9)
        assert len(step.token_ids) == 9 or step.token_ids[-1] in base.step_ends(SamplingLaw()).sure_ids
    assert [step.token_ids for step in model.sample(prefix, 2, KEY, LAW)] == [step.token_ids for step in steps[:2]]


def test_a_model_that_drafts_for_itself_is_never_corrected(pair: Any) -> None:
    base = pair[1]
    stage = speculate(base, base, Prefix("2 + 2"), 3, LAW, gamma=3, chooser_of=lambda i: KeyedChooser(KEY, i))
    steps, bill = run(stage)
    total = sum(len(step.token_ids) for step in steps)
    assert bill["draft"].generated_tokens == bill["base"].scored_tokens
    assert bill["base"].generated_tokens + bill["base"].scored_tokens == total
