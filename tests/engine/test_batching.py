"""Requests that share forwards give what they give alone; mistakes in how they share are noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsi_node.core.rng import Stream
from gsi_node.engine.batch import Batch
from gsi_node.engine.row import AHEAD
from gsi_node.types import Array
from tests.engine.company import Work, models, requests, same, together
from tests.miniature import Miniatures


def alone(miniatures: Miniatures, architecture: str) -> list[Any]:
    """Every request's result on models that keep no prefix, one after another: in no company, from cold."""
    return [work() for work in requests(*models(miniatures, architecture, cache_bytes=0))]


@pytest.fixture(scope="module")
def wanted(miniatures: Miniatures) -> Callable[[str], list[Any]]:
    known: dict[str, list[Any]] = {}

    def find(architecture: str) -> list[Any]:
        if architecture not in known:
            known[architecture] = alone(miniatures, architecture)
        return known[architecture]

    return find


def mixed(miniatures: Miniatures, architecture: str = "llama", **options: Any) -> list[Work]:
    return requests(*models(miniatures, architecture, **options))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "mistral", "gemma2"])
def test_in_company_as_alone(miniatures: Miniatures, wanted: Callable[[str], list[Any]], architecture: str) -> None:
    for seed in range(2):
        work = mixed(miniatures, architecture)
        for _ in range(2):  # cold, then with every prefix cached
            assert same(together(work, seed), wanted(architecture))


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_in_company_as_alone_on_cuda(miniatures: Miniatures, architecture: str) -> None:
    """To 1e-5 nats a step of up to 70 tokens: the norms of llama and qwen2 are float32 (see test_prm.py)."""
    wanted = [work() for work in requests(*models(miniatures, architecture, "cuda", cache_bytes=0))]
    work = requests(*models(miniatures, architecture, "cuda"))
    for seed in range(2):
        assert same(together(work, seed), wanted, 1e-5)


@pytest.mark.parametrize("options", [{"cache_bytes": 0}, {"cache_bytes": 40_000}, {"batch_bytes": 200_000}])
def test_bounds_change_nothing(
    miniatures: Miniatures, wanted: Callable[[str], list[Any]], options: dict[str, Any]
) -> None:
    assert same(together(mixed(miniatures, **options), 5), wanted("llama"))


def _mask_dropped(batch: Batch) -> None:
    batch._seats = replace(batch._seats, mask=None)


def _positions_behind_the_longest_prefix(batch: Batch) -> None:
    first = 0
    for group in batch.groups:
        batch._seats.offsets[first : first + len(group.live)] = batch._seats.tokens - group.pad
        first += len(group.live)


def _the_neighbours_prefix(batch: Batch) -> None:
    batch._seats = replace(batch._seats, prefixes=tuple(part.roll(1, 0) for part in batch._seats.prefixes))


@pytest.mark.parametrize(
    "mistake", [_mask_dropped, _positions_behind_the_longest_prefix, _the_neighbours_prefix], ids=lambda m: m.__name__
)
def test_mistakes_in_company_are_noticed(
    miniatures: Miniatures,
    wanted: Callable[[str], list[Any]],
    mistake: Callable[[Batch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, work, real = wanted("llama"), mixed(miniatures), Batch.changed

    def changed(self: Batch) -> None:
        real(self)
        if len(self.groups) > 1:
            mistake(self)

    monkeypatch.setattr(Batch, "changed", changed)
    assert not same(together(work, 1), truth)


def test_uniforms_that_run_out_are_noticed(
    miniatures: Miniatures, wanted: Callable[[str], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row draws its uniforms AHEAD at a time, and new ones behind them."""
    truth, real = wanted("llama"), Stream.uniforms
    drawn: dict[Stream, Array] = {}

    def the_first_again(self: Stream, count: int) -> Array:
        return np.resize(drawn.setdefault(self, real(self, AHEAD)), count)

    monkeypatch.setattr(Stream, "uniforms", the_first_again)
    assert not same(together(mixed(miniatures), 1), truth)
