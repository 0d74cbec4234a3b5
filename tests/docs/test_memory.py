"""The README's table of memory, against what is published of the models and sums made by hand."""

from __future__ import annotations

import pytest

from tests.docs.memory import GIB, batch_bytes, parameters

PUBLISHED = {  # billions of parameters, from the models' cards; of the reward model its head, 13 million, aside
    "Qwen2.5-Math-1.5B-Instruct": 1.54,
    "Qwen2.5-Math-7B-Instruct": 7.62,
    "Qwen2.5-Math-PRM-7B": 7.07,
    "Qwen3-1.7B": 1.72,
    "Qwen3-8B": 8.19,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shapes_have_as_many_parameters_as_published(name: str) -> None:
    assert parameters(name) == pytest.approx(1e9 * PUBLISHED[name], rel=0.004)


def test_a_batch_by_hand() -> None:
    """Keys and values of 28 layers, 2 heads of 128, in two bytes; attention weights of 12 heads in float32, twice."""
    kept = (3584 + 4 * 512) * 2 * 28 * 2 * 128 * 2
    weighed = 2 * 4 * 1 * (3584 + 512) * 12 * 4
    assert batch_bytes("Qwen2.5-Math-1.5B-Instruct", 4) == kept + weighed


def test_a_reward_reads_sixteen_rows_at_a_time_and_more_n_take_no_more() -> None:
    small, full, many = (batch_bytes("Qwen2.5-Math-PRM-7B", n) for n in (4, 16, 64))
    assert small < full == many and full > 7 * GIB
