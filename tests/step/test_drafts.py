"""Several drafts: their laws against closed forms, both bounds, the mutants that must not survive, what is refused."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsi_node import exact_step_law
from gsi_node.errors import ConfigError
from gsi_node.step import decide, drafts
from gsi_node.step.config import GSIConfig
from gsi_node.step.drafts import Drafts
from gsi_node.step.methods import METHODS
from gsi_node.tables.models import TableModel
from tests import oracles
from tests.oracles import Law
from tests.step import drafts_measured
from tests.step.test_law import instance

RATIO = [name for name, method in METHODS.items() if method.uses_ratio]
TOLERANCE = 1e-12


def cases(count: int = 3, size: int = 3, *, holes: bool = True) -> Iterator[tuple[list[Law], Law, Law, float, float]]:
    """Two drafts, a base with a hole at times, rewards, β and u. With holes a draft lacks a step that the other has."""
    rng = random.Random(11)
    for i in range(count):
        p, b, r = instance(rng, size, holes=holes and i % 3 == 2)
        q, _, _ = instance(rng, size)
        if holes and i % 2:
            q = {**dict.fromkeys(q, 0.5 / (size - 1)), "a": 0.0, "b": 1.0 - 0.5 * (size - 2) / (size - 1)}
        yield [p, q], b, r, rng.choice([0.7, 2.0, 4.0]), rng.choice([0.3, 0.5, 0.8])


def several(given: list[Law], counts: list[int]) -> Any:
    return list(zip(given, counts, strict=True))


def check(method: str, counts: list[int], weights: list[int] | None = None) -> None:
    n = sum(counts)
    for ps, b, r, beta, u in cases(size=2 if METHODS[method].scans else 3):  # a scan makes many decisions a candidate
        if METHODS[method].fallback is None and 0.0 in b.values():
            continue
        config = GSIConfig(n=n, n_fallback=2, beta=beta, threshold=u)
        given = [*ps, *ps][: len(counts)]
        law = exact_step_law(method, draft=several(given, weights or counts), base=b, reward=r, config=config)
        numbers: Any = {"m": 2, "beta": beta, "u": u, "delta": 0.7, "log_c": beta * u}
        wanted = oracles.several_law(method, given, counts, b, r, **numbers)
        assert law == pytest.approx(wanted, abs=TOLERANCE), (method, counts)
        assert math.isclose(sum(law.values()), 1.0, abs_tol=TOLERANCE)


@pytest.mark.parametrize("counts", [[1, 1], [2, 1], [1, 2], [1, 1, 1]])
@pytest.mark.parametrize("method", RATIO)
def test_law_equals_closed_form(method: str, counts: list[int]) -> None:
    check(method, counts)


@pytest.mark.parametrize("method", ["gsi", "gsi-ic", "gsi-no-fallback"])
def test_law_of_four_candidates_by_weights_that_do_not_divide_them(method: str) -> None:
    """α is that of the counts, 3 and 1, not the nominal 2/3 and 1/3."""
    check(method, [3, 1], weights=[2, 1])


def test_equal_drafts_are_one_and_a_list_of_one_is_its_model() -> None:
    for [p, _], b, r, beta, u in cases(holes=False):
        config = GSIConfig(n=3, beta=beta, threshold=u)
        for method in ("gsi", "gsi-ic", "cgs"):
            one = exact_step_law(method, draft=p, base=b, reward=r, config=config)
            assert exact_step_law(method, draft=[p], base=b, reward=r, config=config) == one
            twice = exact_step_law(method, draft=[(p, 2), (p, 1)], base=b, reward=r, config=config)
            assert twice == pytest.approx(one, abs=TOLERANCE)


def check_bounds(count: int = 12) -> None:
    """KL(t ‖ q_n) ≤ ln(1 + (χ²(t ‖ m) − V)/n) ≤ ln(1 + χ²(t ‖ m)/n), and gsi-ic's own bound with this first term."""
    for ps, b, r, beta, u in cases(count, holes=False):
        counts = [2, 1]
        n, m, target = 3, oracles.mixed(ps, counts), oracles.step_target(b, r, beta)
        w = {t: math.exp(beta * r[t]) * b[t] / m[t] for t in m}
        z = sum(m[t] * w[t] for t in m)
        apart = [sum(p[t] * w[t] for t in m) / z for p in ps]
        v = sum(count / n * share**2 for count, share in zip(counts, apart, strict=True)) - 1.0
        first = math.log1p((oracles.chi2(target, m) - v) / n)
        assert v >= -TOLERANCE and first <= math.log1p(oracles.chi2(target, m) / n) + TOLERANCE
        for count, p in zip(counts, ps, strict=True):
            assert 1.0 + oracles.chi2(target, m) <= (1.0 + oracles.chi2(target, p)) * n / count + TOLERANCE
        config = GSIConfig(n=n, beta=beta, threshold=u)
        given: Any = {"draft": several(ps, counts), "base": b, "reward": r, "config": config}
        assert oracles.kl(target, exact_step_law("gsi-no-fallback", **given)) <= first + TOLERANCE
        kept = oracles.several_law("gsi-ic", ps, counts, b, r, m=1, beta=beta, u=u, delta=0.0, log_c=beta * u)
        soft = oracles.softmax_choice(b, {t: math.exp(beta * r[t]) for t in b}, 1)
        rho = _refused(ps, counts, w, math.exp(beta * u))
        assert all(kept[t] >= rho * soft[t] - TOLERANCE for t in b)
        bound = (1 - rho) * first + rho * math.log1p(oracles.chi2(target, b) / n)
        assert oracles.kl(target, exact_step_law("gsi-ic", **given)) <= bound + TOLERANCE


def _refused(ps: list[Law], counts: list[int], w: Law, c: float) -> float:
    batches = oracles.batches_of(ps, counts)
    return 1.0 - sum(p * min(1.0, sum(k * w[t] for t, k in batch.items()) / sum(counts) / c) for batch, p in batches)


def test_both_bounds() -> None:
    check_bounds()


def test_a_draft_that_is_the_base_bounds_every_ratio() -> None:
    """A defensive mixture: ℓ ≤ ln(1/α_B)."""
    steps = [TableModel({"a": 0.9, "b": 0.1}), TableModel({"a": 0.001, "b": 0.999})]
    found = Drafts.of([(steps[0], 3), (steps[1], 1)])
    for text in "ab":
        logs = [[math.log(model._table[text]) for model in steps]]  # type: ignore[index]
        log_m = drafts.mixture(logs, found.counts(4))[0]  # type: ignore[arg-type]
        assert logs[0][1] - log_m <= math.log(4) + TOLERANCE


def test_what_is_measured_is_the_law() -> None:
    """tests/step/drafts_measured.py, whose tables stand in docs/results.md, against the closed forms."""
    beta = drafts_measured.BETA
    for first, second, b, r in drafts_measured.spaces()[:3]:
        for ps, counts in (([first], [4]), ([first, second], [2, 2]), ([first, second], [3, 1])):
            numbers: Any = {"m": sum(counts), "beta": beta, "u": 0.5, "delta": 0.0}
            target, found = oracles.step_target(b, r, beta), drafts_measured.measured(ps, counts, b, r)

            def accepted(method: str, log_c: float, ps: Any = ps, counts: Any = counts, given: Any = (b, r)) -> float:
                kept = oracles.several_accepted(method, ps, counts, *given, log_c=log_c, **numbers)  # noqa: B023
                return sum(kept.values())

            log_c = drafts_measured.bisected(lambda log_c: accepted("gsi-ic", log_c))
            plain = oracles.several_law("gsi-no-fallback", ps, counts, b, r, log_c=0.0, **numbers)
            ic = oracles.several_law("gsi-ic", ps, counts, b, r, log_c=log_c, **numbers)
            wanted = (oracles.kl(target, plain), oracles.kl(target, ic), 1.0 - accepted("gsi", 0.0))
            assert found == pytest.approx(wanted, abs=1e-9)
            laws = [np.array([p[t] for t in drafts_measured.TEXTS]) for p in (*ps, b, r)]
            scaled = laws[-1] * beta / drafts_measured.BETA_POCKET
            drawn = drafts_measured.selected_kl(laws[:-2], counts, laws[-2], scaled, draws=40_000)
            assert drawn == pytest.approx(wanted[0], rel=0.03, abs=1e-3)


# --- mutants ------------------------------------------------------------------------------------------------------


def dies(method: str, counts: list[int], weights: list[int] | None = None) -> None:
    with pytest.raises(AssertionError):
        check(method, counts, weights)


def test_mutant_with_the_own_density_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    true = drafts.draft_together

    def mutant(given: Drafts, counts: Any, labels: Any, *rest: Any, **heard: Any) -> Any:
        steps = yield from true(given, counts, labels, *rest, **heard)
        own = list(zip(labels, steps, strict=True))
        logs = [given.models[label].score(rest[0], [step], rest[2])[0].log_prob for label, step in own]
        return [replace(step, log_prob=log) for step, log in zip(steps, logs, strict=True)]

    monkeypatch.setattr(decide, "draft_together", mutant)
    for method in RATIO:
        dies(method, [2, 1])


def test_mutant_with_nominal_shares_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "log_shares", lambda counts: [math.log(2 / 3), math.log(1 / 3)])
    check("gsi", [2, 1])
    for method in ("gsi", "gsi-ic", "gsi-no-fallback"):
        dies(method, [3, 1], [2, 1])


def test_mutant_with_independent_labels_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all but expgsi, whose labels are."""

    def mutant(context: Any, counts: list[int]) -> list[int]:
        return drafts.drawn_labels(counts, [context.chooser("label", i) for i in range(sum(counts))])

    monkeypatch.setattr(decide, "_labels", mutant)
    check("expgsi", [2, 1])
    for method in ("gsi", "gsi-ic", "gsi-no-fallback", "cgs"):
        dies(method, [2, 1])


def test_mutant_with_fixed_labels_of_a_scan_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "_labels", lambda context, counts: drafts.fixed_labels(counts))
    check("gsi", [2, 1])
    dies("expgsi", [2, 1])


# --- counts, and what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "n", "counts"),
    [
        ([1, 1], 2, [1, 1]),
        ([3, 1], 2, [1, 1]),
        ([3, 1], 16, [12, 4]),
        ([3, 1], 5, [4, 1]),
        ([1, 1], 5, [3, 2]),
        ([1, 100], 3, [1, 2]),
        ([5, 3, 2], 10, [5, 3, 2]),
    ],
)
def test_weights_share_n_out(weights: list[int], n: int, counts: list[int]) -> None:
    given: Any = [(object(), weight) for weight in weights]
    assert Drafts.of(given).counts(n) == counts


P, Q, REWARD = {"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.8}, {"a": 0.1, "b": 0.9}


def refused(method: str, draft: Any, n: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        exact_step_law(method, draft=draft, base=Q, reward=REWARD, config=GSIConfig(n=n))


def test_what_is_refused() -> None:
    refused("gsi", [P, Q], 1, "n: want at least 2, one candidate a draft, got 1")
    refused("expgsi", [P, Q], 1, "n: want at least 2")
    refused("gsi", [P, P], 2, r"draft: 0 and 1 are one model, table; leave one out, or give each its count")
    refused("gsi", [(P, 2), P], 3, "draft: 0 and 1 are one model")
    refused("gsi", [], 3, "draft: want a model, or a list of models")
    for count in (0, -1, 1.5, True, "2"):
        refused("gsi", [(P, count), Q], 3, "each count an integer ≥ 1")
    for method, row in METHODS.items():
        if "draft" in row.models and not row.uses_ratio:
            refused(
                method, [P, Q], 4, f"draft: method {method} has no ratio to weigh 2 drafts by.*gsi, gsi-no-fallback"
            )
