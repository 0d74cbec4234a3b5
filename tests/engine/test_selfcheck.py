"""The check at load: what it lets pass, and attention that it refuses by name or by what it sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AfmoeConfig,
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3Config,
    GptOssConfig,
    Llama4TextConfig,
    Phi3Config,
    PhimoeConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3_5TextConfig,
    Qwen3Config,
    SmolLM3Config,
)

from gsi_node.engine.selfcheck import checked_shape
from gsi_node.errors import ConfigError
from tests.engine.plain import plain
from tests.miniature import WINDOW, Miniatures


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("change", [-1, 1, None])
def test_a_model_that_masks_otherwise_than_it_says_is_refused(
    miniatures: Miniatures, dtype: str, change: int | None
) -> None:
    """Its mask has one window, what it hands to the attention of a layer another, or none."""
    model = plain(miniatures, "gemma2").to(getattr(torch, dtype))
    checked_shape(model, None)
    layer: Any = model.model.layers[2].self_attn
    layer.sliding_window = None if change is None else WINDOW + change
    with pytest.raises(ConfigError, match="layer 2 of Gemma2ForCausalLM masks otherwise than the window says"):
        checked_shape(model, None)


def test_a_window_that_the_check_cannot_shorten_is_refused(
    miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = plain(miniatures, "gemma2")
    fixed = property(lambda self: 4096, lambda self, value: None)
    monkeypatch.setattr(type(model.model.layers[0].self_attn), "sliding_window", fixed, raising=False)
    with pytest.raises(ConfigError, match="layer 0 of Gemma2ForCausalLM has a window of 4096 tokens that is not"):
        checked_shape(model, None)


def test_the_check_leaves_the_model_as_it_is(miniatures: Miniatures) -> None:
    model = plain(miniatures, "gemma3")
    weights = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    checked_shape(model, None)
    assert model.config.sliding_window == WINDOW
    assert [layer.self_attn.sliding_window for layer in model.model.layers] == [None, WINDOW, None, WINDOW]
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == weights


TINY: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}


MIXED: dict[str, Any] = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
PICTURES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def random_model(config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    model.eval()
    return model


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**TINY, sliding_window=8, use_sliding_window=True, max_window_layers=1),
        Qwen3Config(**TINY, **MIXED, use_sliding_window=True),
        SmolLM3Config(**TINY, **MIXED, use_sliding_window=True),
        Phi3Config(**TINY, sliding_window=8),
        AfmoeConfig(**TINY, **MIXED, num_experts=4, num_dense_layers=2),  # it views what attention gives
        Gemma3Config(text_config={**TINY, **MIXED}, vision_config=PICTURES),
    ],
    ids=lambda config: str(config.model_type),
)
def test_the_check_lets_kinds_pass_that_run(config: Any) -> None:
    """It compares them with their own forward; several architectures write their layers in their own way."""
    shape = checked_shape(random_model(config), None)
    assert (shape.layers, shape.heads, shape.width) == (2, 2, 8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            Qwen3_5TextConfig(**TINY, layer_types=["linear_attention", "full_attention"]),
            r"of the kind linear_attention; .* Serve the model \(vLLM, SGLang\) and use a server backend",
        ),
        (
            Llama4TextConfig(**TINY, num_local_experts=2, layer_types=["chunked_attention", "full_attention"]),
            r"layers of the kind chunked_attention.*use a server backend",
        ),
        (GptOssConfig(**TINY, num_local_experts=4, sliding_window=8), "attends with s_aux, which this engine does not"),
        (
            PhimoeConfig(**{**TINY, "num_local_experts": 2}, sliding_window=8),
            "layer 0 of PhimoeForCausalLM masks otherwise than",  # it tells its attention of no window
        ),
        (
            BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4, pad_token_id=0),
            "BloomForCausalLM cannot be fed in a batch: .*; use a server backend",
        ),
    ],
    ids=["linear", "chunked", "sinks", "unsaid", "alibi"],
)
def test_other_attention_stays_refused(config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_shape(random_model(config), None)
