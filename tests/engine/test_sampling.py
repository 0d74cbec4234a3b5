"""Inverse CDF and nucleus against slow references; the corners that floating point has."""

from __future__ import annotations

import math
import random

import pytest
import torch

from gsi_node.engine.sampling import inverse_cdf, log_probs, nucleus
from gsi_node.types import SamplingLaw

LAST = 1 - 2**-53


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


def test_draws_are_those_of_a_loop() -> None:
    draw = random.Random(0)
    for _ in range(200):
        size = draw.randrange(1, 9)
        p = [draw.choice([0.0, draw.random(), 1e-18, 1.0]) for _ in range(size)]
        if not sum(p):
            continue
        us = [0.0, LAST, 0.5, *(draw.random() for _ in range(8))]
        logp = torch.tensor(p, dtype=torch.float64).log()[None]
        exact = logp.exp()[0].tolist()
        chosen = inverse_cdf(logp, torch.tensor(us, dtype=torch.float64)).tolist()
        assert chosen == [reference(exact, u) for u in us]
        assert all(exact[index] > 0 for index in chosen)


def test_each_row_has_its_own_law() -> None:
    logp = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.5]]).log()
    assert inverse_cdf(logp, torch.tensor([LAST, 0.0, 0.5], dtype=torch.float64)).tolist() == [0, 2, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nucleus_is_the_smallest_likely_set(dtype: torch.dtype) -> None:
    p = torch.tensor([[0.1, 0.4, 0.1, 0.3, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]], dtype=dtype)
    kept = nucleus(p.log(), 0.75).exp()
    wanted = torch.tensor([[0.125, 0.5, 0, 0.375, 0], [0.25, 0.25, 0.25, 0.25, 0]], dtype=dtype)
    assert torch.allclose(kept, wanted, atol=1e-6)
    alone = nucleus(p.log(), 1e-9)
    assert alone.max() == 0.0
    assert (alone > float("-inf")).sum() == 2


def test_temperature_and_width() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.bfloat16)
    found = log_probs(logits, SamplingLaw(temperature=0.5))
    assert found.dtype == torch.float32
    weights = [math.exp(2 * x) for x in (0, 1, 2)]
    assert found.exp()[0].tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-6)
