"""The shared-prefix attention of batch.py, made known to transformers; its models stay as they are.

A model whose attention implementation is SHARED attends as a `Batch` says while a forward runs `within` that batch in
the same thread, and as with "sdpa" at all other times.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from gsi_node.engine.batch import Batch
from gsi_node.errors import ConfigError

SHARED = "gsi_shared"
_UNKNOWN = ("s_aux", "sinks", "position_bias", "layer_head_mask", "head_mask", "block_size", "indices", "block_indices")
_here = local()


class Handed(NamedTuple):
    """What the attention of a layer is handed. window: how many tokens a token sees, itself included, by the layer's
    own word; None: all before it. mask: what it does see, (B, 1, L, L) or (1, 1, L, L); None: all before it. softcap:
    c of c·tanh(score/c), or None."""

    layer: int
    window: int | None
    mask: Tensor | None
    softcap: float | None


class _Layer(DynamicLayer):
    """Hands the new keys and values of one layer to the batch of the running forward."""

    def __init__(self, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.index = index

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        _here.batch.write(self.index, key_states, value_states)
        return key_states, value_states

    def get_seq_length(self) -> int:
        batch: Batch = _here.batch
        return batch.length


def shared_cache(layers: int) -> Cache:
    """The cache of a model's forwards within batches."""
    return Cache(layers=[_Layer(index) for index in range(layers)])


def cache_argument(model: nn.Module, cache: Cache) -> dict[str, Cache]:
    """A cache, by the name under which the model's forward takes one: transformers 5.24 warns of `past_key_values`."""
    return {"cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values": cache}


@contextmanager
def within(batch: Batch) -> Iterator[None]:
    """Forwards of this thread attend within `batch`."""
    _here.batch = batch
    try:
        yield
    finally:
        _here.batch = None


@contextmanager
def watching() -> Iterator[list[Handed]]:
    """Forwards of this thread attend to nothing; what their layers are handed is listed."""
    _here.handed = []
    try:
        yield _here.handed
    finally:
        _here.handed = None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    layer: Any = getattr(module, "layer_idx", None)
    window = kwargs.get("sliding_window")
    handed: list[Handed] | None = getattr(_here, "handed", None)
    if handed is not None:
        handed.append(Handed(layer, window, attention_mask, kwargs.get("softcap")))
        return query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[-1]), None
    batch: Batch | None = getattr(_here, "batch", None)
    if batch is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    foreign = [name for name in _UNKNOWN if kwargs.get(name) is not None]
    if foreign:
        raise ConfigError(f"{type(module).__name__} attends with {', '.join(foreign)}, which this engine does not know")
    scale = kwargs.get("scaling")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return batch.attend(layer, query, scale, kwargs.get("softcap"), window), None


AttentionInterface.register(SHARED, _attention)
AttentionMaskInterface.register(SHARED, sdpa_mask)


def attend_as(implementation: str, model: nn.Module) -> None:
    """Make the attention of `model` this one, SHARED or "eager"; ConfigError where transformers cannot."""
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            try:
                part.set_attn_implementation(implementation)
            except ValueError as error:
                raise ConfigError(
                    f"{type(part).__name__} cannot share prefixes: {error}; use a server backend"
                ) from error
            return
