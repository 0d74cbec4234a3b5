"""The tables of `python -m evals jko`: aims beside means over seeds, published values, errors of single seeds."""

from __future__ import annotations

from typing import Any

import pytest

from evals.jko.measurement import Measurement
from evals.jko.published import PUBLISHED
from evals.jko.table import DENSITIES, DISTANCES, tables


def measured(target: str, seed: int = 0, **more: Any) -> Measurement:
    filled = {"n": 20_000, "dim": 10, "rho": 0.0, "ks_rejected": 0, "ks_least_p": 0.4, **more}
    return Measurement(target=target, method="neural JKO", seed=seed, **filled)


def cells(of: list[Measurement]) -> tuple[dict[str, str], dict[str, str]]:
    """The first line of either table, by column."""
    first, second = tables(of)
    return dict(zip(DISTANCES, first.rows[0], strict=True)), dict(zip(DENSITIES, second.rows[0], strict=True))


@pytest.mark.parametrize(
    ("target", "rho", "told"),
    [
        ("mustache", [1e-5, 8e-5], "≤ 5e-05: met"),  # the mean is held against the aim
        ("mustache", [3e-5, 8e-5], "≤ 5e-05: missed"),
        ("funnel", [3e-4, 5e-4], "≤ 4e-04: met"),
        ("gmm100", [1.1e-4, 1e-4], "≤ 1e-04: missed"),
        ("mog40", [1.0, 1.0], ""),
    ],
)
def test_the_aim_is_of_the_mean_over_seeds(target: str, rho: list[float], told: str) -> None:
    of = [measured(target, seed, rho=value) for seed, value in enumerate(rho)]
    assert cells(of)[0]["aim"] == told


def test_no_sampler_but_the_model_has_an_aim() -> None:
    pilot = Measurement(
        target="funnel", method="pilot", seed=0, n=100, dim=10, rho=1.0, log_z=0.5, x1_tail=1.0, x1_tail_truth=9.0
    )
    distances, densities = cells([pilot])
    assert (distances["aim"], densities["aim"], distances["99.9 % of x₁"]) == ("", "", "1.00 (truth: 9.00)")


def test_the_funnel_s_tail_is_held_against_the_truth_s() -> None:
    def told(*tails: float) -> str:
        return cells([measured("funnel", i, x1_tail=tail, x1_tail_truth=9.0) for i, tail in enumerate(tails)])[0][
            "99.9 % of x₁"
        ]

    assert told(8.2, 8.2) == "8.20 ± 0.00 (truth: 9.00), within 10%: met"
    assert told(8.0, 8.0).endswith("missed") and told(9.95).endswith("missed")


def test_log_z_is_held_against_the_target_s_own() -> None:
    def told(low: float, high: float, truth: float = 0.0) -> dict[str, str]:
        return cells([measured("cox", log_z_lower=low, log_z_lower_error=0.005, log_z=high, log_z_truth=truth)])[1]

    assert told(-0.019, 0.02)["aim"] == "within 0.02: met"
    assert told(-0.021, 0.0)["aim"] == told(0.0, 0.021)["aim"] == "within 0.02: missed"
    of_cox = told(-512.31, -512.3, -512.3)
    assert (of_cox["aim"], of_cox["E log w"]) == ("within 0.02: met", "-512.310 ± 0.005")
    assert of_cox["log E w"] == "-512.300 (log Z: -512.300)"


def test_counts_and_cost_of_training_and_of_the_draws_stand_apart() -> None:
    of = [
        measured(
            "gmm10", seed, evaluations=200_000, sampling_evaluations=130_000, cpu_seconds=30.0 + seed, seconds=90.0
        )
        for seed in range(2)
    ]
    densities = cells(of)[1]
    assert (densities["evaluations"], densities["… of the draws"]) == ("0.2 M", "0.13 M")
    assert densities["CPU seconds (wall)"] == "30 ± 0 (90 ± 0)"
    rejected = [measured("gmm10", seed, ks_rejected=seed, ks_least_p=0.03 + seed) for seed in range(2)]
    assert cells(rejected)[0]["marginals rejected"] == "0, 1 of 10 (least p 0.03)"


@pytest.mark.parametrize("target", PUBLISHED)
def test_published_values_stand_below_what_was_measured_and_say_at_which_n(target: str) -> None:
    rows = tables([measured(target)])[0].rows
    assert [row[1] for row in rows[1:]] == [f"{one.sampler}, n = 50,000" for one in PUBLISHED[target]]
    assert all(
        float(row[2]) == pytest.approx(one.rho, rel=0.05) for row, one in zip(rows[1:], PUBLISHED[target], strict=True)
    )


def test_published_distances_are_the_published_rho() -> None:
    """docs: D / E‖X − X'‖ − 1/n, to two digits as it was published."""
    rho = {target: PUBLISHED[target][0].rho for target in PUBLISHED}
    wanted = {"mustache": 7.2e-4, "8modes": -1.1e-5, "8peaky": 7e-6, "funnel": 8.1e-4, "gmm10": 3e-6, "gmm20": 1.3e-5}
    assert {target: rho[target] for target in wanted} == pytest.approx(wanted, rel=0.12)
