"""exact_step_law against closed forms, its invariants, and mutants of the stages that must not survive."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gsi_node.core import accept as acceptance
from gsi_node.errors import DegenerateWeights
from gsi_node.step import judging
from gsi_node.step.config import GSIConfig
from gsi_node.step.fields import Settings
from gsi_node.step.law import exact_step_law
from gsi_node.step.methods import METHODS
from gsi_node.step.rules import CandidateBatch
from tests import oracles

Law = dict[str, float]
TOLERANCE = 1e-12


def instance(rng: random.Random, size: int = 3, *, holes: bool = False) -> tuple[Law, Law, Law]:
    texts = [chr(ord("a") + i) for i in range(size)]

    def simplex(hole: int | None) -> Law:
        raw = [0.0 if i == hole else rng.random() + 0.05 for i in range(size)]
        values = [x / sum(raw) for x in raw]
        return dict(zip(texts, values, strict=True))

    p, b = simplex(None), simplex(rng.randrange(size) if holes else None)
    return p, b, {t: rng.choice([0.1, 0.3, 0.5, 0.7, 0.9]) for t in texts}


def instances(count: int = 6) -> Iterator[tuple[Law, Law, Law, dict[str, float]]]:
    rng = random.Random(7)
    for i in range(count):
        p, b, r = instance(rng, holes=i % 3 == 2)
        yield (
            p,
            b,
            r,
            {"beta": rng.choice([0.5, 2.0, 4.0, 20.0]), "threshold": rng.choice([0.3, 0.5, 0.8]), "delta": 0.7},
        )
    # a tie: π_S = π_B makes r̃ = r exactly, and r = u
    same = {"a": 0.5, "b": 0.25, "c": 0.25}
    yield same, same, {"a": 0.5, "b": 0.1, "c": 0.9}, {"beta": 2.0, "threshold": 0.5, "delta": 0.5}


def check(method: str, n: int, m: int | None = None, log_c: float | None = None, **more: Any) -> None:
    slow = n > 3 and (METHODS[method].scans or METHODS[method].propose == "specdec")  # many decisions a candidate
    for p, b, r, numbers in list(instances())[-2:] if slow else instances():
        if METHODS[method].fallback is None and METHODS[method].uses_score and 0.0 in b.values():
            continue  # degenerate batches raise: their own test
        config = GSIConfig(n=n, n_fallback=m, log_c=log_c, **{**numbers, **more})
        law = exact_step_law(method, draft=p, base=b, reward=r, config=config)
        beta, u = numbers["beta"], numbers["threshold"]
        c = beta * u if log_c is None else log_c
        want = oracles.step_law(
            method, p, b, r, n=n, m=m or n, beta=beta, u=u, delta=numbers["delta"], log_c=c, clip=config.log_ratio_clip
        )
        assert law.keys() == want.keys()
        assert max(abs(law[t] - want[t]) for t in want) < TOLERANCE, (method, numbers, law, want)
        assert math.isclose(sum(law.values()), 1.0, abs_tol=TOLERANCE)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("method", METHODS)
def test_law_equals_closed_form(method: str, n: int) -> None:
    check(method, n)


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].fallback])
def test_law_with_another_fallback_size(method: str) -> None:
    check(method, 2, m=3)


def test_gsi_ic_with_its_own_c() -> None:
    check("gsi-ic", 3, log_c=-0.3)


@pytest.mark.parametrize(("chunk_size", "clip"), [(1, 3.0), (2, 0.3), (3, -0.5), (1, 0.0)])
def test_expgsi_with_other_chunks_and_clips(chunk_size: int, clip: float) -> None:
    check("expgsi", 3, chunk_size=chunk_size, log_ratio_clip=clip)


@pytest.mark.parametrize("method", ["gsi", "gsi-ic", "expgsi"])
def test_all_weights_zero_falls_back(method: str) -> None:
    p, b, r = {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, {"a": 0.9, "b": 0.2}
    assert exact_step_law(method, draft=p, base=b, reward=r, config=GSIConfig(n=2)) == pytest.approx(
        {"a": 0.0, "b": 1.0}, abs=TOLERANCE
    )


def test_all_weights_zero_without_fallback_is_an_error() -> None:
    p, b, r = {"a": 0.5, "b": 0.5}, {"a": 0.0, "b": 1.0}, {"a": 0.9, "b": 0.2}
    with pytest.raises(DegenerateWeights, match="gsi-no-fallback"):
        exact_step_law("gsi-no-fallback", draft=p, base=b, reward=r, config=GSIConfig(n=2))


# --- invariants of the laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_adding_a_constant_to_rewards_and_thresholds_changes_nothing(method: str) -> None:
    rng = random.Random(1)
    for _ in range(5):
        p, b, r = instance(rng)
        config = GSIConfig(n=3, beta=3.0, threshold=0.42, delta=0.6)
        shifted = GSIConfig(n=3, beta=3.0, threshold=0.42 - 1.3, delta=0.6 - 1.3)
        one = exact_step_law(method, draft=p, base=b, reward=r, config=config)
        two = exact_step_law(method, draft=p, base=b, reward={t: v - 1.3 for t, v in r.items()}, config=shifted)
        assert max(abs(one[t] - two[t]) for t in p) < 1e-10


def test_beta_zero_makes_soft_best_of_n_the_proposal() -> None:
    p, b, r = instance(random.Random(2))
    config = GSIConfig(method="sbon-base", n=4, beta=0.0)
    assert exact_step_law("sbon-draft", draft=p, base=b, reward=r, config=config) == pytest.approx(p, abs=TOLERANCE)
    assert exact_step_law("sbon-base", draft=p, base=b, reward=r, config=config) == pytest.approx(b, abs=TOLERANCE)


def test_equal_models_make_gsi_reward_guided_speculative_decoding() -> None:
    rng = random.Random(3)
    for _ in range(5):
        p, _, r = instance(rng)
        config = GSIConfig(n=3, beta=2.0, threshold=0.5, delta=0.5)
        gsi, rsd = (exact_step_law(m, draft=p, base=p, reward=r, config=config) for m in ("gsi", "rsd-n"))
        assert gsi == pytest.approx(rsd, abs=TOLERANCE)


def test_equal_models_do_not_make_gsi_ic_reward_guided() -> None:
    p, r = {"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.8}
    config = GSIConfig(n=2, beta=2.0, threshold=0.5, delta=0.5)
    ic, rsd = (exact_step_law(m, draft=p, base=p, reward=r, config=config) for m in ("gsi-ic", "rsd-n"))
    assert abs(ic["a"] - rsd["a"]) > 0.01


def test_renaming_the_steps_renames_the_law() -> None:
    p, b, r = instance(random.Random(4))
    rename = {"a": "z", "b": "y", "c": "x"}
    for method in METHODS:
        config = GSIConfig(n=3, beta=2.0)
        one = exact_step_law(method, draft=p, base=b, reward=r, config=config)
        moved = ({rename[t]: v for t, v in table.items()} for table in (p, b, r))
        two = exact_step_law(method, draft=next(moved), base=next(moved), reward=next(moved), config=config)
        assert all(abs(one[t] - two[rename[t]]) < TOLERANCE for t in p)


def test_kl_to_the_step_target_is_below_the_chi2_bound() -> None:
    rng = random.Random(5)
    for _ in range(10):
        p, b, r = instance(rng)
        target = oracles.step_target(b, r, 2.0)
        for n in (1, 2, 4):
            law = exact_step_law("gsi-no-fallback", draft=p, base=b, reward=r, config=GSIConfig(n=n, beta=2.0))
            assert oracles.kl(target, law) <= math.log1p(oracles.chi2(target, p) / n) + TOLERANCE


def test_gsi_ic_keeps_its_own_bound() -> None:
    rng = random.Random(6)
    for _ in range(10):
        p, b, r = instance(rng)
        beta, u, n = 2.0, 0.6, 3
        target = oracles.step_target(b, r, beta)
        w = {t: math.exp(beta * r[t]) * b[t] / p[t] for t in p}
        rho = 1.0 - sum(oracles.softmax_choice(p, w, n, lambda mean, t: min(1.0, mean / math.exp(1.2))).values())
        law = exact_step_law("gsi-ic", draft=p, base=b, reward=r, config=GSIConfig(n=n, beta=beta, threshold=u))
        bound = (1 - rho) * math.log1p(oracles.chi2(target, p) / n) + rho * math.log1p(oracles.chi2(target, b) / n)
        assert oracles.kl(target, law) <= bound + TOLERANCE


def test_gsi_does_not_tend_to_the_target_but_to_its_known_limit() -> None:
    p, b, r = {"a": 0.6, "b": 0.4}, {"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.8}
    beta, u = 1.5, 0.5
    target = oracles.step_target(b, r, beta)
    below = sum(target[t] for t in p if r[t] + math.log(b[t] / p[t]) / beta < u)
    law = oracles.step_law("gsi", p, b, r, n=400, m=400, beta=beta, u=u, delta=0.7, log_c=0.0)
    limit = -below * math.log(below) - (1 - below) * math.log1p(below)
    assert oracles.kl(target, law) == pytest.approx(limit, abs=2e-3)
    exact = exact_step_law("gsi", draft=p, base=b, reward=r, config=GSIConfig(n=6, beta=beta, threshold=u))
    assert exact == pytest.approx(
        oracles.step_law("gsi", p, b, r, n=6, m=6, beta=beta, u=u, delta=0.7, log_c=0.0), abs=1e-12
    )


# --- mutants: each planted bug must break `check` ------------------------------------------------------------------


def dies(method: str = "gsi") -> None:
    with pytest.raises(AssertionError):
        check(method, 2)


def test_mutant_without_the_draft_likelihood_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_tilt = judging.tilt
    monkeypatch.setattr(
        judging,
        "tilt",
        lambda method, steps, *rest: true_tilt(method, [replace(s, log_prob=0.0) for s in steps], *rest),
    )
    dies("gsi-no-fallback")
    dies()


def test_mutant_that_tests_the_best_candidate_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_accept = judging.accept
    monkeypatch.setattr(
        judging,
        "accept",
        lambda rule, batch, chosen, *rest: true_accept(
            rule, batch, chosen if batch.tilted_rewards is None else int(batch.tilted_rewards.argmax()), *rest
        ),
    )
    dies()


def test_mutant_that_rejects_ties_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "threshold_log_accept", lambda value, u: 0.0 if value > u else -math.inf)
    dies("gsi")
    dies("rsd")


def test_mutant_that_weighs_the_fallback_with_the_ratio_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true_tilt = judging.tilt

    def tilt(method, steps, rewards, scores, settings):  # type: ignore[no-untyped-def]
        if method.name == "sbon-base":  # a ratio against a uniform draft: log π_B(y) once more in the exponent
            rewards = [r + s.log_prob / settings.beta for r, s in zip(rewards, steps, strict=True)]
        return true_tilt(method, steps, rewards, scores, settings)

    monkeypatch.setattr(judging, "tilt", tilt)
    dies()


def test_mutant_with_beta_u_for_u_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    def mutant(batch: CandidateBatch, chosen: int, settings: Settings) -> float:
        assert batch.tilted_rewards is not None
        return acceptance.threshold_log_accept(batch.tilted_rewards[chosen], settings.beta * settings.threshold)

    rule = METHODS["gsi"].accept
    assert rule is not None
    monkeypatch.setitem(METHODS, "gsi", replace(METHODS["gsi"], accept=replace(rule, compute=mutant)))
    dies()


def test_mutant_that_forgets_beta_in_c_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GSIConfig, "resolved_log_c", property(lambda self: self.threshold))
    dies("gsi-ic")
