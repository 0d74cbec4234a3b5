"""Forwards of one transformers model over shared prefixes: prefill once, feed many continuations of many requests.

A request names its prefix by token ids x_1..x_P. The cached CONTEXT is x_1..x_{P−1}; x_P is fed together with the
continuations, so its output (the law of the next token) is always at hand and no logits need storing. What is fed is
harvested into the prefix cache, row by row: after a commit the next context is there, and nothing is computed twice.
How rows of different prefixes share a forward is told in batch.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from gsi_node.engine.attention import cache_argument, shared_cache, within
from gsi_node.engine.batch import Batch
from gsi_node.engine.budget import Extent, MemoryBudget, largest
from gsi_node.engine.fixed import FixedBatch, laid
from gsi_node.engine.graphs import CudaRecorder, Recorder
from gsi_node.engine.kv import KV, pad
from gsi_node.engine.prefix_cache import PrefixCache
from gsi_node.engine.requests import FeedRequest, Part
from gsi_node.engine.seats import Group
from gsi_node.engine.selfcheck import checked_shape
from gsi_node.types import Ids

PREFILL = 256
"""Tokens of a prefix that one forward computes."""


class Runner:
    """One model and its prefix cache; everything here is for the engine's own thread.

    cache_bytes bounds the prefix cache, batch_bytes what one batch may need (keys, values, attention weights).
    graphs: decode by CUDA graphs, where the model is on CUDA. recorder: what records them, None for no such thing.
    forward_intervals: a list to which every forward adds (start, end) in perf_counter seconds, or None.
    """

    def __init__(self, model: PreTrainedModel, *, cache_bytes: int, batch_bytes: int, graphs: bool) -> None:
        self.model = model.eval()
        self.device: torch.device = model.device
        self.cache = PrefixCache(cache_bytes)
        self.forward_intervals: list[tuple[float, float]] | None = None
        text_config = model.config.get_text_config(decoder=True)
        self.context_length: int | None = getattr(text_config, "max_position_embeddings", None)
        self.shape = checked_shape(model, self.context_length)
        self.budget = MemoryBudget(
            batch_bytes, token_bytes=self.shape.token_bytes, heads=int(text_config.num_attention_heads)
        )
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._past = cache_argument(model, shared_cache(self.shape.layers))
        self._scratch = Batch(self.shape, self.context_length)
        self.recorder: Recorder | None = None
        if graphs and self.device.type == "cuda":
            self.recorder = CudaRecorder(model.config.name_or_path or type(model).__name__, self.device)

    @property
    def _fixed(self) -> Recorder | None:
        return self.recorder if self.recorder is not None and self.recorder.given_up is None else None

    def decoding(self, batch: Batch | None = None) -> Batch:
        """A batch for rows that are sampled: `batch`, which is empty, or a new one where it is not of the kind."""
        recorder = self._fixed
        if batch is not None and isinstance(batch, FixedBatch) == (recorder is not None):
            return batch
        if recorder is None:
            return Batch(self.shape, self.context_length)
        return FixedBatch(self.shape, self.context_length, recorder)

    def decodable(self, extents: Sequence[Extent]) -> bool:
        """Whether parts of such extents may be sampled together."""
        if self._fixed is not None:
            tokens, rows, own = largest(extents)
            groups, rows, tokens, own = laid((len(extents), rows, tokens, own))
            extents = [Extent(tokens, rows, own)] * groups
        return self.budget.fits(extents, at_once=1)

    def feed(self, batch: Batch, ids: Tensor, *, last: bool) -> Tensor:
        """Run ids, shape (B, L), as the next tokens of the batch's rows. Logits (B, L, labels), or the last."""
        keep: dict[str, Any] = {"logits_to_keep": 1} if last and self._keeps else {}
        start = perf_counter()
        forward = partial(self._forward, keep=keep)
        logits = batch.step(ids, forward) if isinstance(batch, FixedBatch) else forward(batch, ids)
        batch.commit(ids.shape[1])
        if self.forward_intervals is not None:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.forward_intervals.append((start, perf_counter()))
        return logits[:, -1:] if last else logits

    def _forward(self, batch: Batch, ids: Tensor, *, keep: dict[str, Any]) -> Tensor:
        positions = batch.open(ids.shape[1])
        with within(batch):
            logits: Tensor = self.model(
                input_ids=ids,
                position_ids=positions,
                attention_mask=batch.dummy_mask,
                use_cache=True,
                **self._past,
                **keep,
            ).logits
        return logits

    def run(self, parts: Sequence[Part[FeedRequest]]) -> None:
        """One forward over given rows: they are run, read and harvested."""
        batch = self._scratch
        rows = [tuple(part.request.rows[i] for i in part.which) for part in parts]
        flat = [row for some in rows for row in some]
        contexts = self.contexts([part.request.ids[:-1] for part in parts])
        try:
            groups = batch.join(contexts, list(map(len, rows)), max(map(len, flat)))
            logits = self.feed(batch, pad(flat, self.device), last=False)
            first = 0
            for part, some, group in zip(parts, rows, groups, strict=True):
                _read(part, logits[first : first + len(some)])
                first += len(some)
                for row, fed in enumerate(some):
                    self.harvest(part.request.ids, fed[: len(fed) - part.request.spare], batch, group, row)
        finally:
            batch.leave(list(batch.groups))
        for part in parts:
            part.request.seen(part)

    def contexts(self, wanted: Sequence[Ids]) -> list[tuple[KV, ...]]:
        """Keys and values of exactly each of `wanted`, piece by piece; what is not cached is computed and cached."""
        found = {ids: self.cache.match(ids) for ids in dict.fromkeys(wanted)}
        known = {ids: match.segments for ids, match in found.items()}
        missing = [ids for ids, match in found.items() if match.boundary < len(ids)]
        fresh = [ids for ids in missing if found[ids].length < len(ids)]
        computed: dict[Ids, KV] = {}
        for some in self.budget.portions(fresh, lambda ids: Extent(found[ids].length, 1, len(ids) - found[ids].length)):
            starts = [found[ids].length for ids in some]
            computed.update(zip(some, self._prefill(some, starts, [known[ids] for ids in some]), strict=True))
        for ids in missing:
            match = found[ids]
            inside = 1 if match.boundary < match.length else 0  # the last segment is part of a node, and is copied
            whole = len(match.segments) - inside
            new = [computed[ids]] if ids in computed else []
            piece = torch.cat([*match.segments[whole:], *new], dim=-2)
            self.cache.insert(ids, match.boundary, piece)
            known[ids] = (*match.segments[:whole], piece)
        return [known[ids] for ids in wanted]

    def harvest(self, ids: Ids, fed: Ids, batch: Batch, group: Group, row: int) -> None:
        """Remember a row that was fed `fed` after the context of `ids`."""
        start = len(ids) - 1
        key = ids[:-1] + fed
        if self.cache.max_bytes and self.cache.lacks(key, start):
            self.cache.insert(key, start, batch.cut(group, row, len(fed)))

    def release(self) -> None:
        """Give back memory that is not in use: prefixes, and what forwards work in."""
        self.cache.clear()
        self._scratch.release()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def reset(self) -> None:
        """No work is under way any more, and a change of the cache may have been cut short (a fork)."""
        self._scratch.groups.clear()
        self.cache.renew()

    def _prefill(self, wanted: list[Ids], starts: list[int], segments: list[tuple[KV, ...]]) -> list[KV]:
        """Keys and values of ids[start:] behind those of ids[:start], for each of `wanted`."""
        batch, rest = self._scratch, [ids[start:] for ids, start in zip(wanted, starts, strict=True)]
        fed = pad(rest, self.device)
        try:
            groups = batch.join(segments, [1] * len(wanted), fed.shape[1])
            for first in range(0, fed.shape[1], PREFILL):
                self.feed(batch, fed[:, first : first + PREFILL], last=True)
            return [batch.cut(group, 0, len(new)) for group, new in zip(groups, rest, strict=True)]
        finally:
            batch.leave(list(batch.groups))


def _read(part: Part[FeedRequest], logits: Tensor) -> None:
    """Let the request read its outputs; what goes wrong there is its own."""
    try:
        part.request.read(logits, part.which)
    except torch.OutOfMemoryError:
        raise  # the schedule tries again with fewer rows
    except Exception as error:  # noqa: BLE001 (the caller's own code: its error goes to the caller, and to no other)
        part.request.fail(error)
