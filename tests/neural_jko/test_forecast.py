"""The announced CPU seconds: they scale with the plan, and a run ends within them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.forecast import LIKELY, MOST, PAGES, UnitCosts, seconds_left, timed
from gsi_node.neural_jko.quality import measured
from gsi_node.neural_jko.run import Run
from tests.neural_jko.small import two_modes

PLAN: dict[str, Any] = {
    "pilot_evaluations": 8000, "likelihood_steps": 20, "rounds": 1, "round_steps": 10, "first_rejections": 3,
    "blocks": 1, "rejections": 2, "wanted_ess": None, "enough_ess": None, "steps": 15, "calibration": 512,
    "weighing": 2000, "log_z_error": None, "particles": 512,
}  # fmt: skip
UNIT = UnitCosts(latent=0.0, step=0.01, point=1e-4, log_g=1e-6, pair=1e-8)


def most(folder: Path, samples: int = 2000, **changes: Any) -> float:
    return seconds_left(Run(two_modes(2), JKOConfig(**{**PLAN, **changes}), folder), samples, UNIT, MOST)


def test_it_scales_with_the_plan(tmp_path: Path) -> None:
    base = most(tmp_path / "base")

    def more(**changes: Any) -> float:
        return (most(tmp_path / repr(sorted(changes.items())), **changes) - base) / MOST.slower

    assert more(likelihood_steps=120) == pytest.approx(100 * UNIT.step)
    reverse = UNIT.step + 256 * UNIT.log_g
    assert more(steps=115) == pytest.approx(100 * reverse)
    assert more(rounds=2) == pytest.approx(more(rounds=3) / 2)
    assert more(rounds=2) > 15 * reverse
    assert more(round_steps=40) == pytest.approx(45 * reverse)  # one round of half a batch each way
    assert more(weighing=42_000) > 40_000 * 2 * UNIT.point  # on either flow
    two, one = more(blocks=2), more(blocks=1)
    assert one == 0 and two > 15 * reverse + 2512 * UNIT.point
    assert more(ode_tolerance=0.5) == 0
    run = Run(two_modes(2), JKOConfig(**{**PLAN, "wanted_ess": 0.5}), tmp_path / "conditional")
    alone = seconds_left(run, 2000, UNIT, MOST._replace(ess=1.0))
    assert alone == pytest.approx(most(tmp_path / "alone", blocks=0))
    assert seconds_left(run, 2000, UNIT, MOST) == pytest.approx(base)


def test_the_likely_course_has_no_conditional_block_and_rounds_by_the_dimension(tmp_path: Path) -> None:
    def likely(name: str, dim: int, **changes: Any) -> float:
        run = Run(two_modes(dim), JKOConfig(**{**PLAN, "wanted_ess": 0.5, **changes}), tmp_path / f"{name}-{dim}")
        return seconds_left(run, 2000, UNIT, LIKELY)

    for dim, rounds in ((2, 0.8), (8, 3.2)):
        none, one, four = (likely(f"rounds-{n}", dim, rounds=n) for n in (0, 1, 4))
        assert four - none == pytest.approx(rounds * (one - none) / min(1.0, rounds))
        assert likely("blocks", dim, blocks=3) == likely("block", dim, blocks=0)
    layers = {"rounds": 0, "first_rejections": 30, "enough_ess": 0.999}
    for dim, made in ((2, 6), (4, 12)):
        assert likely("layers", dim, **layers) == likely("as many", dim, rounds=0, first_rejections=made)
    forced = {"rounds": 0, "wanted_ess": None}
    assert likely("forced", 2, **forced) > likely("few", 2, rounds=0) + 15 * UNIT.step


def test_draws_for_e_alpha_are_no_more_than_the_wanted_error_can_take(tmp_path: Path) -> None:
    """h ≤ 1.2³ = 1.728 and E h = 1: its variance is at most .728, so 7280 draws take .01² of variance, and 14560 half
    of it, which leaves as much to a second such turn."""
    few = {"blocks": 0, "first_rejections": 3, "weighing": 200_000}
    bounded = most(tmp_path / "a", **few, log_z_error=0.01)
    exact = most(tmp_path / "b", **{**few, "weighing": 7_280})
    assert bounded == pytest.approx(exact)
    assert most(tmp_path / "c", **few, log_z_error=0.001) == pytest.approx(most(tmp_path / "d", **few))
    two = {"blocks": 1, "first_rejections": 3, "rejections": 3, "weighing": 200_000}
    assert most(tmp_path / "e", **two, log_z_error=0.01) == pytest.approx(
        most(tmp_path / "f", **{**two, "weighing": 14_560})
    )


def test_a_run_ends_within_it_and_what_is_left_shrinks(tmp_path: Path) -> None:
    """Of a plan without conditions the likely seconds are within a factor 2 of what is spent, and the most above it."""
    torch.set_num_threads(1)
    plan = {"rounds": 0, "likelihood_steps": 60, "steps": 40, "batch_size": 128}
    run = Run(two_modes(2), JKOConfig(**{**PLAN, **plan}), tmp_path)
    costs = timed(run)
    likely, announced = (seconds_left(run, 1000, costs, course) - PAGES for course in (LIKELY, MOST))
    left, start = [announced + PAGES], time.process_time()
    depth = 0
    while (higher := run.grow(depth)) > depth:
        depth = higher
        left.append(seconds_left(run, 1000, costs, MOST))
        stage = run.next_stage(depth)
        if stage is None or stage.kind == "flow":
            measured(run.stack(), run.target, 1000, 0)
    spent = time.process_time() - start
    assert left == sorted(left, reverse=True) and len(set(left)) == 5
    assert 0.5 * likely < spent < 2.0 * likely
    assert spent < announced < 8 * spent
