"""The prefix cache: longest match over token ids, bounded bytes, least recently used out, forks and rewinds."""

from __future__ import annotations

import random
from threading import Thread

import pytest
import torch

from gsi_node.engine import prefix_cache
from gsi_node.engine.kv import KV
from gsi_node.engine.prefix_cache import PrefixCache
from gsi_node.types import Ids

TOKEN_BYTES = 2 * 4  # one layer of keys and values, one head, width 1, float32


def kv(ids: Ids) -> KV:
    """Keys that spell the ids, so that what comes back can be read."""
    keys = torch.tensor(ids, dtype=torch.float32).reshape(1, 1, 1, -1, 1)
    return torch.cat((keys, -keys), dim=1)


def spelt(segments: tuple[KV, ...]) -> Ids:
    """The ids that matched segments spell."""
    return tuple(int(value) for segment in segments for value in segment[0, 0].flatten())


def put(cache: PrefixCache, ids: Ids, start: int = 0) -> None:
    cache.insert(ids, start, kv(ids[start:]))


def test_the_longest_prefix_is_found() -> None:
    cache = PrefixCache(1 << 20)
    put(cache, (1, 2, 3))
    put(cache, (1, 2, 3, 4, 5), 3)
    put(cache, (1, 2, 3, 4, 6), 3)
    for ids, length, boundary in [
        ((1, 2, 3, 4, 6, 7), 5, 5),
        ((1, 2, 3, 4, 9), 4, 3),
        ((1, 2, 9), 2, 0),
        ((9,), 0, 0),
        ((), 0, 0),
        ((1, 2, 3), 3, 3),
    ]:
        found = cache.match(ids)
        assert (found.length, found.boundary) == (length, boundary)
        assert spelt(found.segments) == ids[:length]
    assert (cache.info.hits, cache.info.misses) == (2, 4)
    assert cache.info.hit_tokens == 5 + 4 + 2 + 3
    assert cache.info.miss_tokens == 1 + 1 + 1 + 1


def test_known_rows_are_not_stored_twice() -> None:
    cache = PrefixCache(1 << 20)
    put(cache, (1, 2, 3))
    assert not cache.lacks((1, 2), 0)
    assert not cache.lacks((1, 2, 3), 0)
    assert cache.lacks((1, 2, 3, 4), 3)
    assert not cache.lacks((1, 2, 3, 4), 2)  # no node ends there
    put(cache, (1, 2, 3))
    put(cache, (1, 2, 3, 4), 2)
    assert cache.info.entries == 1
    put(cache, (1, 2))  # asked for outright: a node that ends there, for others to hang below
    assert cache.match((1, 2)).boundary == 2


def test_the_least_recently_used_leaf_goes_first() -> None:
    cache = PrefixCache(8 * TOKEN_BYTES)
    put(cache, (1, 2, 3, 4))
    put(cache, (1, 2, 3, 4, 5, 6), 4)
    put(cache, (1, 2, 3, 4, 7, 8), 4)
    cache.match((1, 2, 3, 4, 5, 6))
    put(cache, (1, 2, 3, 4, 9, 9), 4)
    assert cache.match((1, 2, 3, 4, 7, 8)).length == 4
    assert cache.match((1, 2, 3, 4, 5, 6)).length == 6
    assert cache.match((1, 2, 3, 4, 9, 9)).length == 6
    assert cache.info.evicted == 1
    put(cache, tuple(range(20, 29)))  # larger than the bound
    assert cache.match((20,)).length == 0
    put(cache, tuple(range(20, 28)))  # exactly the bound: all else goes
    assert cache.info.bytes == 8 * TOKEN_BYTES
    assert cache.info.entries == 1
    cache.clear()
    assert (cache.info.bytes, cache.match((20,)).length) == (0, 0)


def test_random_walks_always_spell_the_truth_within_the_bound() -> None:
    draw = random.Random(0)
    cache = PrefixCache(60 * TOKEN_BYTES)
    for _ in range(2000):
        ids = tuple(draw.randrange(3) for _ in range(draw.randrange(1, 12)))
        found = cache.match(ids)
        assert spelt(found.segments) == ids[: found.length]
        assert found.boundary <= found.length
        if found.boundary < len(ids):
            put(cache, ids, found.boundary)
            assert cache.match(ids).length == len(ids)
        assert cache.info.bytes <= cache.max_bytes
    assert cache.info.evicted > 100


def test_a_late_step_meets_no_candidates_of_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[int] = []
    common, cache = prefix_cache._common, PrefixCache(1 << 20)
    ids: Ids = (0,)

    def counted(segment: Ids, whole: Ids, position: int) -> int:
        met.append(position)
        return common(segment, whole, position)

    monkeypatch.setattr(prefix_cache, "_common", counted)
    put(cache, ids)
    for step in range(1, 31):
        for candidate in range(8):
            row = (*ids, step, candidate)
            assert cache.lacks(row, len(ids))
            put(cache, row, len(ids))
        assert len(met) <= sum(range(8))  # only its own siblings
        met.clear()
        ids = (*ids, step, 3)
        assert spelt(cache.match(ids).segments) == ids
        assert met == []


def test_threads() -> None:
    cache = PrefixCache(200 * TOKEN_BYTES)
    wrong: list[Ids] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            ids = tuple(draw.randrange(3) for _ in range(draw.randrange(1, 12)))
            found = cache.match(ids)
            if spelt(found.segments) != ids[: found.length]:
                wrong.append(ids)
            put(cache, ids, found.boundary)

    threads = [Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.info.bytes <= cache.max_bytes
