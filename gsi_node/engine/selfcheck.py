"""What a model's keys and values look like, and whether the engine computes what the model does: five tokens tell.

The tokens go through the model alone and without a cache, then as the engine feeds them: behind prefixes of three
and of one token, in one batch. A model whose attention is something else than it seems gives other logits, and is
refused instead of being run wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from gsi_node.engine.attention import adopt, shared_cache, within
from gsi_node.engine.batch import Batch
from gsi_node.engine.kv import KVShape
from gsi_node.errors import ConfigError

TOKENS = 5
TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Of the largest logit; 0.1 for half types."""


@torch.inference_mode()
def checked_shape(model: PreTrainedModel, context_length: int | None) -> KVShape:
    """What `model` keeps; its attention is the shared one from now on. ConfigError for what cannot be run."""
    name = type(model).__name__
    adopt(model)
    cache = DynamicCache(config=model.config)
    layers: list[Any] = cache.layers
    for layer in layers:
        if type(layer) is not DynamicLayer:
            raise ConfigError(
                f"{name} keeps a {type(layer).__name__}; this engine knows full attention only. "
                "Use a model without sliding windows, linear attention or convolution states, or a server backend"
            )
    ids = torch.arange(TOKENS, device=model.device)[None]
    alone: Tensor = model(input_ids=ids, use_cache=False).logits[0]
    model(input_ids=ids[:, :3], past_key_values=cache, use_cache=True)
    pairs: list[tuple[Any, Any]] = [(layer.keys, layer.values) for layer in layers]
    if len({tensor.shape for pair in pairs for tensor in pair}) != 1:
        raise ConfigError(f"the layers of {name} have keys and values of different shapes; use a server backend")
    kv = torch.stack([torch.stack(pair) for pair in pairs])[:, :, 0]
    shape = KVShape(kv.shape[0], kv.shape[2], kv.shape[4], kv.dtype, kv.device)
    batch = Batch(shape, context_length)
    batch.join([[kv], [kv[..., :1, :]]], [1, 1], 2)
    with within(batch):
        logits = model(
            input_ids=torch.stack((ids[0, 3:5], ids[0, 1:3])),
            position_ids=batch.open(2),
            attention_mask=batch.dummy_mask,
            past_key_values=shared_cache(shape.layers),
            use_cache=True,
        ).logits
    wanted = torch.stack((alone[3:5], alone[1:3]))
    allowed = TOLERANCES.get(kv.dtype, 0.1) * float(wanted.abs().nan_to_num().max())
    if not torch.allclose(logits, wanted, rtol=0.0, atol=allowed, equal_nan=True):
        apart = float((logits - wanted).abs().max())
        raise ConfigError(
            f"{name} gives other logits in a batch than alone (by {apart:.3g}): its attention is not the plain one "
            "this engine computes; use a server backend"
        )
    return shape
