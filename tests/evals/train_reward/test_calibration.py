"""Thresholds against sums by hand and against a run's own rules; the shift of the prior."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from evals.train_reward.calibration import SHARES, points, prior_shift, shifted, table
from gsi_node import load_reward
from gsi_node.step.config import GSIConfig
from tests.evals.train_reward.made import bank, response


def test_single_steps_by_hand() -> None:
    """n = 1: r̃ = r + ℓ/20, log w̄ = 20 r + ℓ."""
    judged = bank(np.random.default_rng(0), 30, 4)
    steps = [pair for one in judged for pair in zip(one.scores, one.log_ratios or (), strict=True)]
    found = {(one.method, one.wanted): one for one in points(judged, 1)}
    assert set(found) == {(method, share) for method in ("gsi", "rsd-n", "gsi-ic") for share in SHARES}
    for share in SHARES:
        gsi, rsd, corrected = (found[method, share] for method in ("gsi", "rsd-n", "gsi-ic"))
        refused = {
            "threshold": np.mean([r + ratio / 20 < gsi.value for r, ratio in steps]),
            "delta": np.mean([r < rsd.value for r, _ in steps]),
            "log_c": 1 - np.mean([math.exp(min(0.0, 20 * r + ratio - corrected.value)) for r, ratio in steps]),
        }
        for one in (gsi, rsd, corrected):
            assert one.share.value == pytest.approx(refused[one.field])
            assert one.share.value == pytest.approx(share, abs=1 / len(steps) + 1e-9)
            assert one.share.low < share < one.share.high and one.share.clusters == 30


def test_batches_are_first_steps_that_share_the_problem() -> None:
    """Two samples of p, one of q: n = 2 makes the batches (0, 1) and (1, 0) of p, which weigh 20 r + ℓ."""
    judged = [
        response("p", 0, scores=(0.9, 0.1), log_ratios=(-1.0, 9.0)),
        response("p", 1, scores=(0.2,), log_ratios=(3.0,)),
        response("p", 2, scores=(), log_ratios=()),
        response("q", 0, scores=(0.5,), log_ratios=(0.0,)),
    ]
    found = {(one.method, one.wanted): one for one in points(judged, 2)}
    mean = math.log((math.exp(20 * 0.9 - 1) + math.exp(20 * 0.2 + 3)) / 2)
    assert found["gsi-ic", 0.5].value == pytest.approx(mean + math.log(2))
    assert found["gsi", 0.05].value == pytest.approx(0.9 - 1 / 20 - 1e-3)  # the first is chosen, but for e^-10
    assert found["rsd-n", 0.05].value == pytest.approx(0.9 - 1e-3)
    assert found["gsi", 0.05].share.rows == 2
    assert points(judged, 4) == []


def test_without_ratios_only_what_needs_none_and_no_share_that_is_out_of_reach() -> None:
    plain = [response("p", k, scores=(0.1 * k,)) for k in range(10)]
    assert {one.method for one in points(plain, 1)} == {"rsd-n"}
    half = [response("p", k, scores=(0.5,), log_ratios=(-math.inf if k < 4 else 0.1 * k,)) for k in range(20)]
    by_method = {name: [one.wanted for one in points(half, 1) if one.method == name] for name in ("gsi", "gsi-ic")}
    assert by_method == {"gsi": [0.3, 0.5], "gsi-ic": [0.3, 0.5]}  # a fifth is refused by any u and log c
    assert points(half, 1)[0].share.value == pytest.approx(0.3)


def test_the_settings_are_those_that_it_tells() -> None:
    """β of the sums above, and fields that a run takes."""
    assert GSIConfig().beta == 20.0
    found = points(bank(np.random.default_rng(1), 5, 3), 1)
    assert all(getattr(GSIConfig.model_validate({one.field: one.value}), one.field) == one.value for one in found)
    shown = table("Thresholds", found)
    assert shown.rows[0][:3] == ["gsi", "1", "0.05"] and shown.rows[0][3].startswith("threshold = ")


def test_the_shift_of_the_prior(tmp_path: Path) -> None:
    judged = [response("p", 0, correct=True, scores=(0.9, 0.8, 0.7)), response("p", 1, scores=(0.6,))]
    reward = load_reward("pocket")
    shift = prior_shift(judged, reward.fingerprint)
    assert shift.offset == pytest.approx(-math.log(3)) and shift.slope == 1.0  # three of four steps are good
    assert shift([0.75]) == pytest.approx([0.5])
    known = [0.9, 0.8, 0.7, 1 - 0.6]
    odds = [(p / (1 - p) / 3, good) for p, good in zip((0.9, 0.8, 0.7, 0.6), (1, 1, 1, 0), strict=True)]
    after = [o / (1 + o) if good else 1 / (1 + o) for o, good in odds]
    assert shift.before == pytest.approx(-np.mean(np.log(known))) and shift.examples == 4
    assert shift.after == pytest.approx(-np.mean(np.log(after)))
    moved = shifted(judged, shift)
    assert moved[1].scores == pytest.approx([0.6 / 0.4 / 3 / (1 + 0.6 / 0.4 / 3)]) and moved[1].sample == 1
    shift.save(tmp_path / "shift.json")
    assert load_reward(f"calibrated:pocket?file={tmp_path / 'shift.json'}").range == (0.0, 1.0)
