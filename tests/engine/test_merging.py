"""Attention to a prefix and to own tokens, merged, is attention to both at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gsi_node.engine import batch as batches
from gsi_node.engine import merging
from gsi_node.engine.batch import Batch
from gsi_node.engine.kv import KVShape
from gsi_node.engine.merging import Mask, attended, is_mergeable, merged

CPU = torch.device("cpu")
HEADS, R, WIDTH = 2, 3, 8


@pytest.fixture
def _untried() -> Iterator[None]:
    is_mergeable.cache_clear()
    yield
    is_mergeable.cache_clear()


def hidden(*shape: int) -> Tensor:
    """A random mask."""
    return torch.where(torch.rand(shape) < 0.4, -torch.inf, 0.0)


def test_two_parts_are_the_whole() -> None:
    """Against a softmax in float64; every third query sees nothing of the first part."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, HEADS, length, WIDTH) for length in (9, 20, 20))
    first, second = hidden(3, 9, 13), hidden(3, 9, 7)
    first[:, ::3], second[..., 0] = -torch.inf, 0.0
    parts = [
        attended(q, k[:, :, these], v[:, :, these], 0.3, Mask.of(mask))
        for these, mask in ((slice(13), first), (slice(13, None), second))
    ]
    scores = 0.3 * q.double() @ k.double().mT + torch.cat((first, second), dim=-1)[:, None]
    assert torch.allclose(merged(parts[0], parts[1]).double(), torch.softmax(scores, dim=-1) @ v.double(), atol=1e-6)


def test_nothing_hidden_is_no_mask() -> None:
    assert Mask.of(torch.zeros(2, 1, 5)) is None


@pytest.mark.usefixtures("_untried")
@pytest.mark.parametrize("fault", ["absent", "refuses", "blind", "wrong"])
def test_a_kernel_that_is_not_as_it_should_be_is_not_used(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    assert is_mergeable(torch.float32, CPU, WIDTH)
    is_mergeable.cache_clear()
    real = merging.attended

    def faulty(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Mask | None) -> tuple[Tensor, Tensor]:
        if fault == "absent":
            torch.ops.aten.no_such_kernel  # noqa: B018
        if fault == "refuses":
            raise RuntimeError("not for this CPU")
        result, log_norm = real(q, k, v, scale, mask)
        return (result, log_norm.clamp(min=0.0)) if fault == "blind" else (result * 1.01, log_norm)

    monkeypatch.setattr(merging, "attended", faulty)
    assert not is_mergeable(torch.float32, CPU, WIDTH)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_keep_one_softmax(dtype: torch.dtype) -> None:
    assert not is_mergeable(dtype, CPU, WIDTH)


def attention(merge: bool, fed: int, window: int | None, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Of groups behind prefixes of 7, 0 and 3 tokens, of 2, 3 and 1 rows, after 2 tokens of their own."""
    monkeypatch.setattr(batches, "is_mergeable", lambda dtype, device, width: merge)
    torch.manual_seed(1)
    shape = KVShape(1, HEADS, WIDTH, torch.float32, CPU)
    batch, rows = Batch(shape, 100), (2, 3, 1)
    batch.join([[torch.randn(1, 2, HEADS, length, WIDTH)] for length in (7, 0, 3)], rows, 8)
    result = torch.empty(0)
    for length in (2, fed):
        batch.open(length)
        batch.write(0, *torch.randn(2, sum(rows), HEADS, length, WIDTH))
        result = batch.attend(0, torch.randn(sum(rows), HEADS * R, length, WIDTH), 0.3, None, window)
        batch.commit(length)
    return result


def _as_if_all_saw(values: Tensor) -> Mask:
    """The kernel's 0 for a query that sees nothing then weighs as a sum of one."""
    return Mask(values[:, None], torch.zeros_like(values[..., 0], dtype=torch.bool)[:, None])


@pytest.mark.parametrize("window", [None, 4, 1])
@pytest.mark.parametrize("fed", [1, 3])
def test_a_batch_attends_alike_in_both_ways(monkeypatch: pytest.MonkeyPatch, fed: int, window: int | None) -> None:
    wanted = attention(False, fed, window, monkeypatch)
    assert torch.allclose(attention(True, fed, window, monkeypatch), wanted, atol=1e-6)
    monkeypatch.setattr(Mask, "of", _as_if_all_saw)
    assert not torch.allclose(attention(True, fed, window, monkeypatch), wanted, atol=1e-3)
