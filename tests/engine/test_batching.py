"""Requests that share forwards give what they give alone; mistakes in how they share are noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_in_company_as_alone(miniatures: Miniatures, wanted: Callable[[str], list[Any]], architecture: str) -> None:
    for seed in range(2):
        work = mixed(miniatures, architecture)
        for _ in range(2):  # cold, then with every prefix cached
            assert same(together(work, seed), wanted(architecture))


@pytest.mark.parametrize("options", [{"cache_bytes": 0}, {"cache_bytes": 40_000}, {"batch_bytes": 200_000}])
def test_bounds_change_nothing(
    miniatures: Miniatures, wanted: Callable[[str], list[Any]], options: dict[str, Any]
) -> None:
    assert same(together(mixed(miniatures, **options), 5), wanted("llama"))
