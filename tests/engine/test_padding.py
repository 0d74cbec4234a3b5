"""Fixed shapes attend as a batch of any shape does, and what is padded in them is never read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gsi_node.engine import batch as batches
from gsi_node.engine.batch import Batch
from gsi_node.engine.fixed import FixedBatch
from gsi_node.engine.graphs import Unrecorded
from gsi_node.engine.kv import KVShape
from gsi_node.models.transformers import TransformersModel
from tests.engine.company import same
from tests.engine.taped import recorded
from tests.engine.test_tree import mixed
from tests.miniature import Miniatures


@pytest.fixture(scope="module")
def model(miniatures: Miniatures) -> TransformersModel:
    return miniatures.language(dtype="float64", end_bias=1.0)


@pytest.fixture(scope="module")
def truth(model: TransformersModel) -> list[Any]:
    return mixed(model, 1)


@pytest.mark.parametrize("window", [None, 4, 1])
@pytest.mark.parametrize("merge", [True, False])
def test_fixed_shapes_attend_as_others_do(merge: bool, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind prefixes of 70, 0 and 3 tokens, of 2, 3 and 1 rows, token by token; both kinds of attention."""
    monkeypatch.setattr(batches, "is_mergeable", lambda dtype, device, width: merge)
    shape = KVShape(1, 2, 8, torch.float32, torch.device("cpu"))
    found: list[list[Tensor]] = []
    for batch in (Batch(shape, 100), FixedBatch(shape, 100, Unrecorded())):
        torch.manual_seed(1)
        batch.join([[torch.randn(1, 2, 2, length, 8)] for length in (70, 0, 3)], (2, 3, 1), 2)
        batch.groups[1].live = [0, 2]  # one has left
        batch.changed()
        found.append([])
        for _ in range(6):
            keys, values, query = torch.randn(5, 2, 1, 8), torch.randn(5, 2, 1, 8), torch.randn(5, 6, 1, 8)
            found[-1].append(_next(batch, keys, values, query, window))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def _next(batch: Batch, keys: Tensor, values: Tensor, query: Tensor, window: int | None) -> Tensor:
    """Positions and attention of one more token a row."""

    def forward(batch: Batch, ids: Tensor) -> Tensor:
        positions = batch.open(1)
        spare = [0] * (len(positions) - len(keys))
        own = [torch.cat((tensor, tensor[spare])) for tensor in (keys, values, query)]
        batch.write(0, own[0], own[1])
        attended = batch.attend(0, own[2], 0.3, None, window).flatten(1)
        return torch.cat((attended, positions.to(attended.dtype)), dim=-1)

    ids = torch.zeros(len(keys), 1, dtype=torch.long)
    if isinstance(batch, FixedBatch):
        batch.recordings.forget()  # `forward` is another one each time
        result = batch.step(ids, forward)
    else:
        result = forward(batch, ids)
    batch.commit(1)
    return result


def littered(patch: pytest.MonkeyPatch, what: Callable[[FixedBatch], list[Tensor]]) -> None:
    """Before every token, numbers where nothing should be read."""
    real = FixedBatch.step

    def step(self: FixedBatch, ids: Tensor, forward: Any) -> Tensor:
        for litter in what(self):
            litter.copy_(
                torch.randn_like(litter) * 9 if litter.is_floating_point() else torch.randint_like(litter, 7, 60)
            )
        return real(self, ids, forward)

    patch.setattr(FixedBatch, "step", step)


def _unused(batch: FixedBatch) -> list[Tensor]:
    """Of prefixes, columns, slots, groups and ids, what nobody has."""
    prefix, suffix, groups = batch._prefix, batch._suffix, batch.groups
    litter = [prefix[:, :, len(groups) :], suffix[:, :, len(groups) :], suffix[..., batch.end + 1 :, :]]
    for g, group in enumerate(groups):
        litter += [prefix[:, :, g, :, group.length :], suffix[:, :, g, :, :, : group.pad]]
        litter += [suffix[:, :, g, n] for n in range(suffix.shape[3]) if n not in group.live]
    return [*litter, batch._ids[sum(len(group.live) for group in groups) :]]


def _used(batch: FixedBatch) -> list[Tensor]:
    """One token of one row too many."""
    return [*_unused(batch), batch._suffix[:, :, 0, batch.groups[0].live[-1], :, batch.end - 1 : batch.end]]


@pytest.mark.parametrize(("what", "alike"), [(_unused, True), (_used, False)])
def test_what_is_padded_is_never_read(
    model: TransformersModel,
    truth: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    what: Callable[[FixedBatch], list[Tensor]],
    alike: bool,
) -> None:
    littered(monkeypatch, what)
    with recorded(model, by=Unrecorded()):
        assert same(mixed(model, 1), truth) is alike
