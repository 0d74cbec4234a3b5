"""What a model's keys and values look like, and whether the engine computes what the model does: six tokens tell.

The tokens go through the model alone, with its own eager attention and without a cache, then as the engine feeds them:
behind prefixes of three and of one token, in one batch. A model whose attention is something else than it seems gives
other logits, and is refused instead of being run wrong.

Six tokens reach beyond no window that models have. So both ways are those of a twin, of the same weights, whose windows
are two tokens long (of several lengths: 2, 3, …). What its logits show in half types is blurred by rounding, so its
masks are read, too: each layer must mask exactly what the window that it hands to its attention says.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from gsi_node.engine.attention import SHARED, Handed, attend_as, cache_argument, shared_cache, watching, within
from gsi_node.engine.batch import Batch
from gsi_node.engine.kv import KVShape
from gsi_node.errors import ConfigError
from gsi_node.text.reading import first_line

TOKENS = 6
TOLERANCES = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Of the largest logit. Half types: 0.1, or twice what the model's own eager and sdpa attention differ by, where that
is more (0.09 and 0.10 of it in Qwen2.5 with 0.5B and 1.5B parameters in bfloat16)."""
_LENGTHS = ("sliding_window", "sliding_window_size", "attention_chunk_size")
"""What models and configurations call the tokens that a layer sees."""


@torch.inference_mode()
def checked_shape(model: PreTrainedModel, context_length: int | None) -> KVShape:
    """What `model` keeps; its attention is the shared one from now on. ConfigError for what cannot be run."""
    name = type(model).__name__
    _check_layers(model)
    twin, windows = _twin(model)
    attend_as("eager", twin)
    ids = torch.arange(TOKENS, device=model.device)[None]
    alone: Tensor = twin(input_ids=ids, use_cache=False).logits[0]
    cache = DynamicCache()  # without the config, or layers with windows forget what is behind them
    twin(input_ids=ids[:, :3], use_cache=True, **cache_argument(twin, cache))
    layers: list[Any] = cache.layers
    pairs = [(layer.keys, layer.values) for layer in layers]
    if len({tensor.shape for pair in pairs for tensor in pair}) != 1:
        raise ConfigError(f"the layers of {name} have keys and values of different shapes; use a server backend")
    kv = torch.stack([torch.stack(pair) for pair in pairs])[:, :, 0]
    shape = KVShape(kv.shape[0], kv.shape[2], kv.shape[4], kv.dtype, kv.device)
    attend_as(SHARED, twin)
    with watching() as handed:
        twin(input_ids=ids, use_cache=False)
    _check_masks(type(twin).__name__, handed, windows)
    noise = 0.0 if model.dtype in TOLERANCES else 2 * _between_its_own(twin, ids, alone, handed)
    attend_as(SHARED, twin)
    batch = Batch(shape, context_length)
    batch.join([[kv], [kv[..., :1, :]]], [1, 1], 3)
    try:
        with within(batch):
            logits = twin(
                input_ids=torch.stack((ids[0, 3:6], ids[0, 1:4])),
                position_ids=batch.open(3),
                attention_mask=batch.dummy_mask,
                use_cache=True,
                **cache_argument(twin, shared_cache(shape.layers)),
            ).logits
    except (ValueError, TypeError, IndexError) as error:  # what code raises that reads another mask or cache
        raise ConfigError(f"{name} cannot be fed in a batch: {first_line(error)}; use a server backend") from error
    wanted = torch.stack((alone[3:6], alone[1:4]))
    allowed = max(TOLERANCES.get(kv.dtype, 0.1) * float(wanted.abs().nan_to_num().max()), noise)
    if not torch.allclose(logits, wanted, rtol=0.0, atol=allowed, equal_nan=True):
        apart = float((logits - wanted).abs().max())
        raise ConfigError(
            f"{name} gives other logits in a batch than alone (by {apart:.3g}): its attention is not the full or "
            "sliding one that this engine computes; use a server backend"
        )
    attend_as(SHARED, model)
    return shape


def _between_its_own(twin: PreTrainedModel, ids: Tensor, eager: Tensor, handed: list[Handed]) -> float:
    """How far the logits of the model's eager and sdpa attention are apart; 0 where sdpa is not its attention: it knows
    no softcap, though earlier releases of transformers let it run without."""
    if not twin._supports_sdpa or any(one.softcap is not None for one in handed):
        return 0.0
    attend_as("sdpa", twin)
    other: Tensor = twin(input_ids=ids, use_cache=False).logits[0]
    return float((other - eager).abs().nan_to_num().max())


def _check_layers(model: PreTrainedModel) -> None:
    """ConfigError where a layer keeps something else than the keys and values of the tokens."""
    kinds = set(getattr(model.config.get_text_config(decoder=True), "layer_types", None) or ())
    other = kinds - {"full_attention", "sliding_attention"} or {
        type(layer).__name__
        for layer in DynamicCache(config=model.config).layers
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer)
    }
    if other:
        raise ConfigError(
            f"{type(model).__name__} has layers of the kind {', '.join(sorted(other))}; this engine knows full "
            "attention and sliding windows only. Serve the model (vLLM, SGLang) and use a server backend"
        )


def _check_masks(name: str, handed: list[Handed], windows: set[int]) -> None:
    """ConfigError where a layer of the model `name` masks otherwise than the window says that it hands on."""
    place = torch.arange(TOKENS)
    back = place[:, None] - place
    for layer, window, mask, _ in handed:
        if window is not None and window not in windows:
            raise ConfigError(
                f"layer {layer} of {name} has a window of {window} tokens that is not in its config and cannot be "
                "checked; use a server backend"
            )
        seen = back >= 0 if mask is None else mask[0, 0].cpu()
        if not torch.equal(seen, (back >= 0) & (back < (window or TOKENS))):
            raise ConfigError(
                f"layer {layer} of {name} masks otherwise than the window says that it hands to its attention; use a "
                "server backend"
            )


def _twin(model: PreTrainedModel) -> tuple[PreTrainedModel, set[int]]:
    """The model again, over the same weights and uncompiled, with windows of 2, 3, … tokens; and these lengths."""
    twin = deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    parts: list[Any] = list(twin.modules())
    configs = {id(part.config): part.config for part in parts if hasattr(part, "config")}
    found = [
        (holder, name, length)
        for holder in (*parts, *configs.values())
        for name in _LENGTHS
        if type(length := getattr(holder, name, None)) is int
    ]
    lengths = sorted({length for _, _, length in found})
    for holder, name, length in found:
        setattr(holder, name, 2 + lengths.index(length))
    return twin, {2 + place for place in range(len(lengths))}
