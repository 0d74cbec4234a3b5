"""Inverse CDF and nucleus against slow references; the corners that floating point has."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gsi_node.engine import sampling
from gsi_node.engine.sampling import FEW, Memory, Softmax, target_log_probs
from gsi_node.types import SamplingLaw

LAST = 1 - 2**-53
MANY = 2 * FEW + 907
"""Ids, no multiple of a block."""
LAWS = [SamplingLaw(temperature=t, top_p=p) for t, p in ((1.0, 1.0), (0.7, 1.0), (1.3, 0.8))]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def reference(p: list[float], u: float) -> int:
    """The first index whose running sum passes u · total; the last possible one if rounding hides it."""
    total = 0.0
    for value in p:
        total += value
    running, last = 0.0, -1
    for index, value in enumerate(p):
        running += value
        if value > 0:
            last = index
        if value > 0 and running > u * total:
            return index
    return last


def logits(rows: int, ids: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return (3 * torch.randn(rows, ids, generator=torch.Generator().manual_seed(seed))).to(dtype)


def uniforms(rows: int, seed: int = 1) -> Tensor:
    return torch.rand(rows, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn_of(softmax: Softmax, us: Tensor) -> Tensor:
    """One id of each row."""
    return softmax.draw(torch.arange(len(us)), us)


def repeated(row: Tensor, us: list[float], law: SamplingLaw = LAWS[0]) -> list[int]:
    """What `us` draw from the law of one row."""
    draws = torch.zeros(len(us), dtype=torch.long)
    return Softmax.of(row[None], law).draw(draws, torch.tensor(us, dtype=torch.float64)).tolist()


def test_draws_are_those_of_a_loop() -> None:
    draw = random.Random(0)
    for _ in range(200):
        size = draw.randrange(1, 9)
        p = [draw.choice([0.0, draw.random(), 1e-18, 1.0]) for _ in range(size)]
        if not sum(p):
            continue
        us = [0.0, LAST, 0.5, *(draw.random() for _ in range(8))]
        logp = torch.tensor(p, dtype=torch.float64).log()
        exact = (logp - logp.max()).exp().tolist()
        chosen = repeated(logp, us)
        assert chosen == [reference(exact, u) for u in us]
        assert all(exact[index] > 0 for index in chosen)


def test_each_row_has_its_own_law() -> None:
    logp = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.5]]).log()
    softmax = Softmax.of(logp, LAWS[0])
    assert drawn_of(softmax, torch.tensor([LAST, 0.0, 0.5], dtype=torch.float64)).tolist() == [0, 2, 2]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("law", LAWS, ids=["plain", "tempered", "nucleus"])
@pytest.mark.parametrize("ids", [61, MANY])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_is_the_same_bit_for_bit_in_any_company(
    dtype: torch.dtype, ids: int, law: SamplingLaw, threads: int
) -> None:
    """1 to 96 rows; the memory of a larger batch is used again, with what it held."""
    z, u, memory = logits(96, ids, dtype), uniforms(96), Memory()
    alone = [Softmax.of(z[i : i + 1], law) for i in range(96)]
    for first, rows in ((0, 96), (5, 1), (3, 2), (90, 5), (7, 16), (31, 33), (20, 64)):
        some = slice(first, first + rows)
        found = Softmax.of(z[some], law, memory)
        assert torch.equal(found.sums, torch.cat([each.sums for each in alone[some]]))
        chosen = drawn_of(found, u[some])
        assert torch.equal(chosen, torch.cat([drawn_of(s, v[None]) for s, v in zip(alone[some], u[some], strict=True)]))
        values = [s.at(torch.tensor([0]), c[None]) for s, c in zip(alone[some], chosen, strict=True)]
        assert torch.equal(found.at(torch.arange(rows), chosen), torch.cat(values))


def test_rows_are_the_same_with_more_threads() -> None:
    z, before, found = logits(96, MANY, torch.float32), torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(Softmax.of(z, LAWS[1]))
    torch.set_num_threads(before)
    assert all(torch.equal(found[0].weights, s.weights) and torch.equal(found[0].sums, s.sums) for s in found)


@pytest.mark.parametrize("law", LAWS, ids=["plain", "tempered", "nucleus"])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-13), (torch.float32, 1e-7), (torch.bfloat16, 1e-7)])
def test_ids_are_those_of_a_running_sum_in_float64(dtype: torch.dtype, near: float, law: SamplingLaw) -> None:
    """In float32 a block's sum is rounded: a u as `near` as that to the border of two ids may go to either."""
    apart, beside = 0, 0
    batches = 6 if law.top_p < 1 else 24
    for seed in range(batches):
        softmax, u = Softmax.of(logits(96, MANY, dtype, seed), law), uniforms(96, seed)
        cumulative = softmax.weights.flatten(1)[:, :MANY].double().cumsum(-1)
        target = u[:, None] * cumulative[:, -1:]
        wanted = torch.searchsorted(cumulative, target, right=True)
        to_border = (cumulative - target).abs().amin(-1) / cumulative[:, -1]
        off = drawn_of(softmax, u) != wanted[:, 0]
        apart += int((off & (to_border > near)).sum())
        beside += int((to_border <= near).sum())
    assert apart == 0
    assert beside < 0.002 * batches * 96


@pytest.mark.parametrize("law", LAWS, ids=["plain", "tempered", "nucleus"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_id_of_probability_zero_is_drawn(dtype: torch.dtype, law: SamplingLaw) -> None:
    """Blocks at the head, in the middle and at the tail that have no mass, and ids inside of blocks."""
    row = logits(1, MANY, dtype)[0]
    for first, last in ((0, 1100), (2000, 2600), (3300, 3301), (4100, MANY)):
        row[first:last] = -torch.inf
    row[2600] = -200.0  # of a probability that float32 cannot tell from zero
    borders = (Softmax.of(row[None], law).sums[0] / Softmax.of(row[None], law).sums[0, -1]).tolist()
    us = [0.0, LAST, 1e-300, *(min(u, LAST) for u in borders), *uniforms(500).tolist()]
    chosen = repeated(row, us, law)
    found = Softmax.of(row[None], law)
    assert bool((found.weights.flatten()[chosen] > 0).all())
    assert max(chosen) < 4100
    assert bool(found.log_probs()[0, chosen].isfinite().all())


@pytest.mark.parametrize("law", LAWS, ids=["plain", "tempered", "nucleus"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ids", [61, MANY])
@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_what_is_drawn_is_scored_the_same_to_the_last_bit(
    piece: int, ids: int, dtype: torch.dtype, law: SamplingLaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """π_S = π_B: the log-ratio of a step is 0.0, whether its rows are drawn, scored (so many positions at once), or
    read as whole laws."""
    monkeypatch.setitem(sampling.CACHED, "cpu", 4 * ids * piece)
    rows, length = 6, 7
    z = logits(rows * length, ids, dtype).view(rows, length, ids)
    drawn: list[list[int]] = [[] for _ in range(rows)]
    sums: list[list[float]] = [[] for _ in range(rows)]
    for j in range(length):
        softmax = Softmax.of(z[:, j], law)
        chosen = drawn_of(softmax, uniforms(rows, j))
        values = softmax.at(torch.arange(rows), chosen)
        assert torch.equal(values, softmax.log_probs().gather(-1, chosen[:, None])[:, 0])
        for i, (token, value) in enumerate(zip(chosen.tolist(), values.tolist(), strict=True)):
            drawn[i].append(token)
            sums[i].append(value)
    assert target_log_probs(z, drawn, law) == [math.fsum(values) for values in sums]


def test_a_block_that_float32_would_lose_is_drawn() -> None:
    """1 + 7.6e-10 is 1 in float32: the blocks are summed in float64."""
    row = torch.full((MANY,), -torch.inf)
    row[0], row[MANY - 1] = 0.0, -21.0
    assert repeated(row, [0.5, 1 - 9e-10, 1 - 5e-10, LAST]) == [0, 0, MANY - 1, MANY - 1]


def test_the_normaliser_of_many_ids_is_exact_to_1e_6_nats() -> None:
    """Where float32's own log_softmax is not."""
    z = logits(4, 60_000, torch.float32)
    exact = z.double().log_softmax(-1)
    assert float((Softmax.of(z, LAWS[0]).log_probs() - exact).abs().max()) < 1e-6
    assert float((z.log_softmax(-1).double() - exact).abs().max()) > 2e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_give_nan_and_an_id(bad: float, dtype: torch.dtype) -> None:
    """Which the model turns into InvalidLogProb (test_poisoned.py, test_faults.py)."""
    z = logits(3, MANY, dtype)
    z[1, 700] = bad
    softmax = Softmax.of(z, LAWS[1])
    chosen = drawn_of(softmax, uniforms(3))
    assert bool(((chosen >= 0) & (chosen < MANY)).all())
    assert softmax.at(torch.arange(3), chosen).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nucleus_is_the_smallest_likely_set(dtype: torch.dtype) -> None:
    p = torch.tensor([[0.1, 0.4, 0.1, 0.3, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]], dtype=dtype)
    kept = Softmax.of(p.log(), SamplingLaw(temperature=1.0, top_p=0.75)).log_probs().exp().to(dtype)
    wanted = torch.tensor([[0.125, 0.5, 0, 0.375, 0], [0.25, 0.25, 0.25, 0.25, 0]], dtype=dtype)
    assert torch.allclose(kept, wanted, atol=1e-6)
    alone = Softmax.of(p.log(), SamplingLaw(temperature=1.0, top_p=1e-9)).log_probs()
    assert alone.max() == 0.0
    assert (alone > float("-inf")).sum() == 2


def test_temperature_and_width() -> None:
    found = Softmax.of(torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.bfloat16), SamplingLaw(temperature=0.5))
    assert found.weights.dtype == torch.float32
    weights = [math.exp(2 * x) for x in (0, 1, 2)]
    assert found.log_probs().exp()[0].tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-6)
