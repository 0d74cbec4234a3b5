"""The scan of expgsi: batch by batch the law of a noisy maximum, whatever the chunks; its paths; planted mutants."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsi_node.core.accept import calibrate_log_ratio_clip
from gsi_node.core.choose import Chooser, KeyedChooser, below_envelope
from gsi_node.core.enumerate import outcomes
from gsi_node.errors import ConfigError
from gsi_node.step import judging
from gsi_node.step.config import GSIConfig
from gsi_node.step.judging import Continue, Judging
from gsi_node.step.law import exact_step_law
from gsi_node.step.methods import METHODS, Method
from gsi_node.step.rules import PLAIN_REWARD, Accept, CandidateBatch
from gsi_node.types import Key, Step
from tests import oracles

RULE = METHODS["expgsi"]
ALWAYS = Accept(compute=lambda *args: 0.0, shown="always", refusal=lambda *args: "")
GIVEN = Method("given", "draft", PLAIN_REWARD, RULE.choose, ALWAYS, RULE.fallback)
"""The scan of expgsi over log-weights that are given as rewards."""
TOLERANCE = 1e-12


def scan_once(log_w: list[float], envelope: float, size: int, chooser_of: judging.ChooserOf) -> tuple[Any, bool, int]:
    """One scan of candidates 0 … n − 1, as the graph runs it: (winner, whether it hit, candidates judged)."""
    batch = [Step(str(i), (i,), 0.0, False) for i in range(len(log_w))]
    steps = judging.scan_order(RULE, batch, chooser_of("order", 0))
    now = Judging(GIVEN, GSIConfig(chunk_size=size), steps, envelope=envelope)
    verdict: Any = Continue(0)
    while isinstance(verdict, Continue):
        known = [log_w[int(step.text)] for step in (*steps[: now.count], *now.next_chunk())]
        now = now.judged(known, None)
        verdict = now.verdict(chooser_of)
    return None if verdict.chosen is None else int(steps[verdict.chosen].text), verdict.hit, now.count


def scan_law(log_w: list[float], envelope: float, size: int) -> dict[Any, float]:
    law: defaultdict[Any, float] = defaultdict(float)
    for (winner, hit, _), p in outcomes(lambda chooser: scan_once(log_w, envelope, size, lambda phase, i: chooser)):
        law[winner] += p
        law["hit"] += p * hit
    return law


def batches() -> Iterator[tuple[list[float], float]]:
    rng = random.Random(3)
    for n in (1, 2, 3, 3, 4):
        log_w = [rng.gauss(0, 2) for _ in range(n)]
        yield log_w, max(log_w) + rng.random()
        yield log_w, max(log_w)  # the best one always hits
    yield [0.0, 0.0, -math.inf], 0.7
    yield [-1.0, -1.0, -1.0], 40.0  # hits never happen
    yield [-800.0, 750.0], 751.0
    yield [0.1, 0.1 + 1e-13], 0.1  # rounding put a weight above the envelope


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_scan_is_the_argmax_of_the_noisy_weights(size: int) -> None:
    for log_w, envelope in batches():
        law, want = scan_law(log_w, envelope, size), oracles.noisy_max_choice(log_w)
        assert all(abs(law[i] - p) < TOLERANCE for i, p in enumerate(want)), (log_w, envelope)
        misses = math.prod(-math.expm1(min(0.0, a - envelope)) for a in log_w)
        assert law["hit"] == pytest.approx(1.0 - misses, abs=TOLERANCE)


def test_the_oracle_is_the_continuous_definition() -> None:
    rng = np.random.default_rng(0)
    for log_w in ([0.3, -0.5, 1.2], [0.0, 0.0], [2.0, 1.9, -3.0, 0.4]):
        draws = np.argmax(np.asarray(log_w) + rng.exponential(size=(200_000, len(log_w))), axis=1)
        for i, p in enumerate(oracles.noisy_max_choice(log_w)):
            assert abs(np.mean(draws == i) - p) < 4 * math.sqrt(p * (1 - p) / 200_000)


def test_without_a_hit_the_law_is_that_of_the_conditioned_argmax() -> None:
    """P(i | no hit) = w_i ∫_{e^-K}^{e^-m} Π_{j≠i} (1 − w_j v) dv / Π_j (1 − w_j e^-K), by a fine midpoint rule."""
    log_w, envelope = [0.3, -0.5, 1.2], 1.5
    w, steps = np.exp(log_w), 20_000
    low, high = math.exp(-envelope), math.exp(-1.2)
    v = low + (np.arange(steps) + 0.5) * (high - low) / steps
    norm = math.prod(1 - w * low)
    found = oracles.noisy_max_choice(list(below_envelope(log_w, envelope)))
    for i in range(3):
        others = np.prod([1 - w[j] * v for j in range(3) if j != i], axis=0)
        assert found[i] == pytest.approx(w[i] * others.mean() * (high - low) / norm, abs=1e-8)


def test_a_hit_has_the_clipped_target_law() -> None:
    """Rejection sampling under the envelope e^K: with n = 1, P(y, hit) = p(y) e^{a(y) − K}."""
    p, log_w = {"0": 0.5, "1": 0.3, "2": 0.2}, [0.1, 0.9, -1.0]
    for text, mass in p.items():
        law = scan_law([log_w[int(text)]], 1.1, 1)
        assert mass * law["hit"] == pytest.approx(mass * math.exp(log_w[int(text)] - 1.1), abs=TOLERANCE)


def test_all_weights_zero_choose_nobody() -> None:
    assert scan_law([-math.inf, -math.inf], 1.0, 1) == {None: pytest.approx(1.0), "hit": 0.0}


def test_the_chunks_do_not_change_a_seeds_path_only_its_cost() -> None:
    rng = random.Random(1)
    judged = dict.fromkeys((1, 2, 5, 16), 0)
    for seed in range(60):
        log_w = [rng.gauss(0, 1) for _ in range(8)]

        def chooser_of(phase: str, i: int, seed: int = seed) -> Chooser:
            return KeyedChooser(Key(seed, "p", 0, phase), i)

        runs = {size: scan_once(log_w, 2.5, size, chooser_of) for size in judged}
        assert len({run[:2] for run in runs.values()}) == 1
        for size, run in runs.items():
            judged[size] += run[2]
    assert judged[1] < judged[2] < judged[5] < judged[16] == 60 * 8


P = {"a": 0.5, "b": 0.3, "c": 0.2}
B = {"a": 0.1, "b": 0.3, "c": 0.6}
R = {"a": 0.9, "b": 0.3, "c": 0.6}


def law(**fields: Any) -> dict[str, float]:
    return exact_step_law(
        "expgsi", draft=P, base=B, reward=R, config=GSIConfig(**{"n": 3, "beta": 4.0, "threshold": 0.6, **fields})
    )


def want(**fields: Any) -> dict[str, float]:
    numbers = {"n": 3, "m": 3, "beta": 4.0, "u": 0.6, "delta": 0.7, "log_c": 0.0, **fields}
    return oracles.step_law("expgsi", P, B, R, **numbers)


def test_neither_chunks_nor_the_envelope_change_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 3):
        assert law(chunk_size=size, log_ratio_clip=0.8) == pytest.approx(want(clip=0.8), abs=TOLERANCE)
    true_envelope = judging.log_envelope
    monkeypatch.setattr(judging, "log_envelope", lambda *args: true_envelope(*args) + 1.7)
    assert law(chunk_size=2, log_ratio_clip=0.8) == pytest.approx(want(clip=0.8), abs=TOLERANCE)


def test_a_clip_that_never_binds_is_no_clip_and_one_that_binds_matters() -> None:
    assert law(log_ratio_clip=9.0) == pytest.approx(law(log_ratio_clip=1.2), abs=1e-12)
    assert max(abs(law(log_ratio_clip=9.0)[t] - law(log_ratio_clip=0.0)[t]) for t in P) > 0.01


# --- mutants ---------------------------------------------------------------------------------------------------------


def dies() -> None:
    with pytest.raises(AssertionError):
        assert law(log_ratio_clip=0.8, chunk_size=2) == pytest.approx(want(clip=0.8), abs=TOLERANCE)


def test_mutant_with_an_envelope_too_low_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "log_envelope", lambda method, reward, settings: settings.beta * reward.range[0])
    dies()


def test_mutant_that_forgets_that_nobody_hit_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "below_envelope", lambda log_w, envelope: log_w)
    dies()


def test_mutant_with_softmax_below_the_envelope_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "scan_order", lambda method, steps, chooser: list(steps))
    mutant = replace(RULE.choose, compute=METHODS["gsi"].choose.compute)
    monkeypatch.setitem(METHODS, "expgsi", replace(RULE, choose=mutant))
    dies()


def test_mutant_that_flips_each_chunk_to_its_end_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_scan = judging.scan

    def scan(now: Judging, chooser_of: judging.ChooserOf) -> Any:
        return true_scan(replace(now, steps=now.steps[: now.count]), chooser_of)

    monkeypatch.setattr(judging, "scan", scan)
    dies()


def test_mutant_that_accepts_on_the_unclipped_ratio_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_tilt = judging.tilt

    def tilt(method: Any, steps: Any, rewards: Any, scores: Any, settings: Any) -> CandidateBatch:
        unclipped = replace(method, weigh=replace(method.weigh, clips=False))
        plain = true_tilt(unclipped, steps, rewards, scores, settings)
        return replace(true_tilt(method, steps, rewards, scores, settings), tilted_rewards=plain.tilted_rewards)

    threshold = {"log_ratio_clip": -0.5, "threshold": 0.65}
    assert law(**threshold) == pytest.approx(want(clip=-0.5, u=0.65), abs=TOLERANCE)
    monkeypatch.setattr(judging, "tilt", tilt)
    assert law(**threshold) != pytest.approx(want(clip=-0.5, u=0.65), abs=TOLERANCE)


def test_mutant_that_scans_in_the_drawn_order_dies_on_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawn order has the same law over steps, which are exchangeable, but not over a given batch."""
    monkeypatch.setattr(judging, "scan_order", lambda method, steps, chooser: list(steps))
    assert law(log_ratio_clip=0.8) == pytest.approx(want(clip=0.8), abs=TOLERANCE)
    with pytest.raises(AssertionError):
        test_a_scan_is_the_argmax_of_the_noisy_weights(1)


# --- calibration -----------------------------------------------------------------------------------------------------


def test_the_calibrated_clip_is_a_quantile() -> None:
    logs = [float(i) for i in range(100)]
    random.Random(0).shuffle(logs)
    assert calibrate_log_ratio_clip(logs) == 94.0
    assert calibrate_log_ratio_clip(logs, 1.0) == 99.0
    assert calibrate_log_ratio_clip([-math.inf, 0.5], 0.75) == 0.5


def test_no_quantile_of_a_true_ratio_is_above_markovs() -> None:
    rng = np.random.default_rng(1)
    p, b = rng.dirichlet(np.full(50, 0.3)), rng.dirichlet(np.full(50, 0.3))
    logs = np.log(b / p)[rng.choice(50, size=20_000, p=p)]
    for quantile in (0.5, 0.8, 0.95):
        assert calibrate_log_ratio_clip(logs, quantile) <= -math.log1p(-quantile) + 0.05


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf]])
def test_calibration_refuses_bad_ratios(bad: list[float]) -> None:
    with pytest.raises(ConfigError, match="log_ratios"):
        calibrate_log_ratio_clip(bad)


def test_calibration_refuses_bad_quantiles() -> None:
    with pytest.raises(ConfigError, match="quantile"):
        calibrate_log_ratio_clip([0.0], 0.0)
    with pytest.raises(ConfigError, match=r"quantile 0\.5 .* -inf"):
        calibrate_log_ratio_clip([-math.inf, -math.inf, 0.0], 0.5)
