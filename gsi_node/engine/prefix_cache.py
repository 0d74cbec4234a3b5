"""A cache of prefixes: a tree whose nodes hold the keys and values of one segment of token ids each.

A node's full key is the token ids on the path from the root, which never change, so a fork or a rewind finds what is
still there and recomputes the rest. Siblings share their parent's memory. When the bytes held pass the bound, the
least recently used leaf goes; touching a node touches its ancestors after it, so the oldest node is always a leaf.

A run asks next for what it has committed, so nodes are found by their whole keys first: the way from the root meets
every candidate of every step before.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

import torch

from gsi_node.engine.kv import KV, kv_bytes, kv_head
from gsi_node.types import Ids


@dataclass(eq=False, slots=True)
class _Node:
    """key: its full one. ids: those of its own segment, the last of them."""

    key: Ids
    ids: Ids
    kv: KV
    parent: _Node | None
    size: int = 0
    children: list[_Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """Counters since the start: lookups that found every token, lookups that did not, tokens found and recomputed."""

    hits: int
    misses: int
    hit_tokens: int
    miss_tokens: int
    evicted: int
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Match:
    """The longest known prefix: its segments, its length, and where its last whole node ends (in tokens)."""

    segments: tuple[KV, ...]
    length: int
    boundary: int


class PrefixCache:
    """Thread-safe. `max_bytes` bounds what is held; 0 switches it off."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._root = _Node((), (), torch.empty(0), None)
        self._ending: dict[Ids, _Node] = {(): self._root}  # by full key
        self._order: OrderedDict[_Node, None] = OrderedDict()
        self._lock = Lock()
        self._bytes = self._hits = self._misses = self._hit_tokens = self._miss_tokens = self._evicted = 0

    def match(self, ids: Ids) -> Match:
        """The longest cached prefix of `ids`; counts one lookup."""
        with self._lock:
            path, partial = self._found(ids)
            segments = [node.kv for node in path]
            length = boundary = sum(len(node.ids) for node in path)
            if partial is not None:
                node, common = partial
                segments.append(kv_head(node.kv, common))
                length += common
                self._touch(node)
            elif path:
                self._touch(path[-1])
            self._hits += length == len(ids)
            self._misses += length < len(ids)
            self._hit_tokens += length
            self._miss_tokens += len(ids) - length
            return Match(tuple(segments), length, boundary)

    def lacks(self, ids: Ids, start: int) -> bool:
        """Whether some of `ids` is unknown and could hang below `start`. Asked first, it saves a copy."""
        with self._lock:
            above = self._ending.get(ids[:start])
            if above is None:
                return False
            path, partial = self._walk(above, ids)
            return len((path or [above])[-1].key) + (partial[1] if partial else 0) < len(ids)

    def insert(self, ids: Ids, start: int, kv: KV) -> None:
        """Store the keys and values of ids[start:], one row, below the node that ends at `start`.

        Nothing happens when a node ends at len(ids) already, when none ends at `start` (evicted), or when `kv` alone
        is larger than the bound.
        """
        size = kv_bytes(kv)
        with self._lock:
            parent = self._ending.get(ids[:start])
            if parent is None or size > self.max_bytes or ids in self._ending:
                return
            node = self._ending[ids] = _Node(ids, ids[start:], kv, parent, size)
            parent.children.append(node)
            self._order[node] = None
            self._bytes += size
            self._touch(node)
            while self._bytes > self.max_bytes:
                self._evict()

    def clear(self) -> None:
        """Forget everything held; the counters stay."""
        with self._lock:
            self._root.children.clear()
            self._ending = {(): self._root}
            self._order.clear()
            self._bytes = 0

    def renew(self) -> None:
        """As `clear`, where a lock may be held by a thread that is not there (in a forked child)."""
        self._lock = Lock()
        self.clear()

    @property
    def info(self) -> CacheInfo:
        """The counters now."""
        with self._lock:
            return CacheInfo(
                self._hits,
                self._misses,
                self._hit_tokens,
                self._miss_tokens,
                self._evicted,
                len(self._order),
                self._bytes,
            )

    def _found(self, ids: Ids) -> tuple[list[_Node], tuple[_Node, int] | None]:
        """As `_walk` from the root."""
        last = self._ending.get(ids)
        if last is None:
            return self._walk(self._root, ids)
        path: list[_Node] = []
        while last is not None and last is not self._root:
            path.append(last)
            last = last.parent
        return path[::-1], None

    def _walk(self, node: _Node, ids: Ids) -> tuple[list[_Node], tuple[_Node, int] | None]:
        """Whole nodes below `node` along `ids`; then, if the next one matches in part, that and its common length."""
        path: list[_Node] = []
        position = len(node.key)
        while position < len(ids):
            best: _Node | None = None
            best_rank = (0, False)
            for child in node.children:
                common = _common(child.ids, ids, position)
                rank = (common, common == len(child.ids))
                if rank > best_rank:
                    best, best_rank = child, rank
            if best is None:
                break
            if not best_rank[1]:
                return path, (best, best_rank[0])
            path.append(best)
            node, position = best, position + len(best.ids)
        return path, None

    def _touch(self, node: _Node) -> None:
        current: _Node | None = node
        while current is not None and current is not self._root:
            self._order.move_to_end(current)
            current = current.parent

    def _evict(self) -> None:
        node, _ = self._order.popitem(last=False)
        del self._ending[node.key]
        if node.parent is not None:
            node.parent.children.remove(node)
        self._bytes -= node.size
        self._evicted += 1


def _common(segment: Ids, ids: Ids, position: int) -> int:
    """Length of the longest common prefix of `segment` and ids[position:]."""
    part = ids[position : position + len(segment)]
    if part == segment:
        return len(segment)
    length = 0
    for a, b in zip(segment, part, strict=False):
        if a != b:
            break
        length += 1
    return length
