"""The mathematics room: streams, weights, decisions, acceptance, enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi_node.core import accept, weights
from gsi_node.core.choose import KeyedChooser
from gsi_node.core.enumerate import outcomes
from gsi_node.core.rng import Stream
from gsi_node.errors import ConfigError
from gsi_node.types import Key

KEY = Key(0, "p", 3, "draft")
logs = st.lists(st.floats(-800, 800), min_size=1, max_size=8)


def test_streams_are_the_same_on_every_machine() -> None:
    golden = [0.4342194048314777, 0.6658756251207083, 0.6548168907879638]
    assert Stream(KEY, 2).uniforms(3).tolist() == golden


def test_streams_differ_in_every_field_and_count_on() -> None:
    keys = [KEY, Key(1, "p", 3, "draft"), Key(0, "q", 3, "draft"), Key(0, "p", 4, "draft"), KEY.at("fallback")]
    firsts = {Stream(key, i).uniform() for key in keys for i in (0, 1)}
    assert len(firsts) == 2 * len(keys)
    stream = Stream(KEY)
    assert [stream.uniform() for _ in range(5)] == Stream(KEY).uniforms(5).tolist()


def test_a_field_cannot_leak_into_its_neighbour() -> None:
    assert Stream(Key(0, "p", 1, "1"), 0).uniform() != Stream(Key(0, "p", 1, ""), 10).uniform()
    assert Stream(Key(0, "a', 1", 2, "x")).uniform() != Stream(Key(0, "a", 1, "2, 'x"), 0).uniform()


def test_uniforms_are_uniform() -> None:
    values = np.concatenate([Stream(Key(5, str(i), 0, "t"), j).uniforms(50) for i in range(20) for j in range(20)])
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    expected = values.size / 20
    assert float(((counts - expected) ** 2 / expected).sum()) < 43.8  # χ²(19) at 0.001; the streams are fixed


@given(logs)
def test_weights_are_normalised_whatever_their_size(log_w: list[float]) -> None:
    p = weights.normalised(log_w)
    assert math.isclose(float(p.sum()), 1.0, rel_tol=1e-12)
    assert 1.0 - 1e-9 <= weights.ess(log_w) <= len(log_w) + 1e-9
    assert -1e-9 <= weights.chi2(log_w) <= len(log_w) - 1 + 1e-9
    assert weights.kl_bound(weights.chi2(log_w), len(log_w)) <= math.log(2) + 1e-9


@given(logs, st.floats(-500, 500))
def test_a_common_factor_moves_only_the_mean(log_w: list[float], shift: float) -> None:
    moved = [w + shift for w in log_w]
    assert weights.log_mean_weight(moved) == pytest.approx(weights.log_mean_weight(log_w) + shift, abs=1e-9)
    assert weights.ess(moved) == pytest.approx(weights.ess(log_w), rel=1e-6)


def test_weights_by_hand() -> None:
    log_w = weights.log_weights([0.5, 0.0], [math.log(2), math.log(4)], beta=2.0)
    assert np.exp(log_w).tolist() == pytest.approx([2 * math.e, 4.0])
    assert weights.log_mean_weight(log_w) == pytest.approx(math.log(math.e + 2.0))
    assert weights.tilted_rewards([0.5, 0.0], [math.log(2), math.log(4)], 2.0) * 2.0 == pytest.approx(log_w)
    assert weights.ess([0.0, -math.inf]) == 1.0
    assert weights.log_mean_weight([-math.inf, -math.inf]) == -math.inf


def test_number_of_candidates_for_a_kl() -> None:
    assert weights.candidates_for_kl(0.0, 20.0, 0.0, 0.1) == 0.0
    assert weights.candidates_for_kl(1.0, 1.0, 0.5, 0.1) == pytest.approx((2 * math.e - 1) / math.expm1(0.1))
    assert weights.candidates_for_kl(0.0, 20.0, 1.0, 0.1) == pytest.approx(math.expm1(40) / math.expm1(0.1))
    assert weights.candidates_for_kl(1.0, 1e4, 1.0, 0.1) == math.inf


def test_kl_bound_holds_at_the_number_it_asks_for() -> None:
    for epsilon in (0.01, 0.5):
        n = weights.candidates_for_kl(0.8, 1.3, 0.7, epsilon)
        assert weights.kl_bound((0.8 + 1) * math.exp(2 * 1.3 * 0.7) - 1, math.ceil(n)) <= epsilon


def test_choices_follow_the_weights_and_never_the_impossible() -> None:
    log_w = [-math.inf, math.log(0.2), math.log(0.8), -math.inf]
    picks = [KeyedChooser(Key(0, str(i), 0, "choose")).choose(log_w) for i in range(2000)]
    assert set(picks) == {1, 2}
    assert abs(picks.count(2) / 2000 - 0.8) < 0.03
    assert (
        abs(sum(KeyedChooser(Key(1, str(i), 0, "accept")).accept(math.log(0.3)) for i in range(2000)) / 2000 - 0.3)
        < 0.04
    )


def test_a_uniform_that_rounds_up_stays_in_the_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "uniform", lambda self: 1.0)
    assert KeyedChooser(KEY).choose([0.0, 0.0, -math.inf]) == 1


def test_outcomes_of_a_small_program() -> None:
    def program(chooser):  # type: ignore[no-untyped-def]
        if chooser.accept(math.log(0.25)):
            return "kept"
        return "ab"[chooser.choose([math.log(3), 0.0])] + "cd"[chooser.choose([-math.inf, 0.0])]

    law = dict(outcomes(program))
    assert law == {"kept": pytest.approx(0.25), "ad": pytest.approx(0.75 * 0.75), "bd": pytest.approx(0.75 * 0.25)}
    assert list(outcomes(lambda chooser: 1)) == [(1, 1.0)]


def test_replaced_law() -> None:
    law = accept.replaced_law([0.5, 0.5], [1.0, 0.2], [0.1, 0.9])
    assert law.tolist() == pytest.approx([0.5 + 0.4 * 0.1, 0.1 + 0.4 * 0.9])
    assert law.sum() == pytest.approx(1.0)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=30), st.floats(0.0, 0.95))
def test_calibrated_c_gives_the_wanted_rate(log_means: list[float], rate: float) -> None:
    log_c = accept.calibrate_log_c(log_means, rate)
    kept = np.mean([math.exp(accept.mean_weight_log_accept(v, log_c)) for v in log_means])
    assert kept == pytest.approx(1.0 - rate, abs=1e-9)


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf]])
def test_calibration_refuses_bad_batches(bad: list[float]) -> None:
    with pytest.raises(ConfigError, match="log_mean_weights"):
        accept.calibrate_log_c(bad, 0.2)


def test_calibration_names_what_is_out_of_reach() -> None:
    with pytest.raises(ConfigError, match=r"0\.500 of the calibration"):
        accept.calibrate_log_c([0.0, -math.inf], 0.2)
    with pytest.raises(ConfigError, match="fallback_rate"):
        accept.calibrate_log_c([0.0], 1.0)
    assert math.isfinite(accept.calibrate_log_c([0.0, -math.inf], 0.5))


def test_thresholds() -> None:
    assert accept.threshold_log_accept(0.5, 0.5) == 0.0
    assert accept.threshold_log_accept(math.nextafter(0.5, 0), 0.5) == -math.inf
    assert accept.threshold_log_accept(-math.inf, -1e300) == -math.inf
