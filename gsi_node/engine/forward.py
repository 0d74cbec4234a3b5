"""Forwards of one transformers model over a shared prefix: prefill once, broadcast, feed n continuations.

A request names its prefix by token ids x_1..x_P. The cached CONTEXT is x_1..x_{P−1}; x_P is fed together with the
continuations, so its output (the law of the next token) is always at hand and no logits need storing. What is fed is
harvested into the prefix cache, row by row: after a commit the next context is there, and nothing is computed twice.
A batch needs no attention mask: all rows have the same past, and under a causal mask right padding is never seen.

Batching across concurrent problems belongs here too (a queue in front of `Engine`, rows of several prefixes in one
batch); today a lock makes concurrent callers take turns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from gsi_node.cancel import check_cancelled
from gsi_node.engine.prefix_cache import Ids, PrefixCache
from gsi_node.engine.rows import KV, Rows, pad
from gsi_node.errors import ConfigError


class Engine:
    """One model, its prefix cache and its lock. `forward_intervals`: a list to which every forward adds (start, end)
    in perf_counter seconds, or None."""

    def __init__(self, model: PreTrainedModel, *, cache_bytes: int) -> None:
        self.model = model.eval()
        self.device: torch.device = model.device
        self.cache = PrefixCache(cache_bytes)
        self.forward_intervals: list[tuple[float, float]] | None = None
        text_config = model.config.get_text_config(decoder=True)
        self.context_length: int | None = getattr(text_config, "max_position_embeddings", None)
        self._layers = _attention_layers(model)
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._lock = Lock()

    @contextmanager
    def session(self) -> Iterator[None]:
        """The model to oneself, without gradients; a cancelled waiter leaves the queue."""
        while not self._lock.acquire(timeout=0.1):
            check_cancelled()
        try:
            with torch.inference_mode():
                yield
        finally:
            self._lock.release()

    def open(self, ids: Ids, rows: int, room: int) -> Rows:
        """`rows` copies of the context of prefix `ids` (all but its last token), with room for `room` tokens."""
        return Rows(self._layers, self._segments(ids[:-1]), rows, room)

    def feed(self, rows: Rows, ids: Tensor, *, last: bool) -> Tensor:
        """Run ids, shape (B, L), after `rows` and append them. Logits (B, 1 or L, labels): only the last if `last`."""
        check_cancelled()
        keep: dict[str, Any] = {"logits_to_keep": 1} if last and self._keeps else {}
        start = perf_counter()
        logits: Tensor = self.model(input_ids=ids, past_key_values=rows.cache, use_cache=True, **keep).logits
        if self.forward_intervals is not None:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.forward_intervals.append((start, perf_counter()))
        return logits[:, -1:] if last else logits

    def continuations(
        self,
        ids: Ids,
        rows: Sequence[Ids],
        read: Callable[[Tensor, range], None],
        *,
        spare: int = 0,
        most: int | None = None,
    ) -> None:
        """Feed every row after the context of `ids`; row = (x_P, continuation…). One forward, if memory allows.

        read(logits (B, L, labels), which): called once a batch, for rows `which`. spare: tokens at the end of a row
        that the next context will not have. most: positions (rows × longest row) that one batch may have.
        """
        longest = max(map(len, rows))
        size = len(rows) if most is None else max(1, most // longest)
        for first in range(0, len(rows), size):
            which = range(first, min(first + size, len(rows)))
            batch = [rows[i] for i in which]
            opened = self.open(ids, len(batch), longest)
            read(self.feed(opened, pad(batch, self.device), last=False), which)
            for row, fed in enumerate(batch):
                self.harvest(ids, fed[: len(fed) - spare], opened, row)

    def harvest(self, ids: Ids, fed: Ids, rows: Rows, row: int) -> None:
        """Remember the row that was fed `fed` after the context of `ids`."""
        start = len(ids) - 1
        key = ids[:-1] + fed
        if self.cache.max_bytes and self.cache.lacks(key, start):
            self.cache.insert(key, start, rows.cut(row, start, len(key)))

    def _segments(self, ids: Ids) -> tuple[KV, ...]:
        """Keys and values of exactly `ids`, piece by piece; what is not cached is computed and cached."""
        found = self.cache.match(ids)
        if found.boundary == len(ids):
            return found.segments
        rows = Rows(self._layers, found.segments, 1, len(ids) - found.length)
        if found.length < len(ids):
            self.feed(rows, pad([ids[found.length :]], self.device), last=True)
        piece = rows.cut(0, found.boundary, len(ids))
        self.cache.insert(ids, found.boundary, piece)
        return (*(found.segments if found.boundary == found.length else found.segments[:-1]), piece)


def _attention_layers(model: PreTrainedModel) -> int:
    """The number of key–value layers; refuses models whose state is not plain attention."""
    layers = DynamicCache(config=model.config).layers
    for layer in layers:
        if type(layer) is not DynamicLayer:
            raise ConfigError(
                f"{type(model).__name__} keeps a {type(layer).__name__}; this engine knows full attention only. "
                "Use a model without sliding windows, linear attention or convolution states, or a server backend"
            )
    return len(layers)
