"""The recipes of the shipped models, and a model's fresh weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gsi_node.pocket.training.loop import TrainingSchedule


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Width, depth, attention heads and inner width of the feed-forward layers."""

    hidden: int
    layers: int
    heads: int
    inner: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What the reward model learns from: problems answered by each model, and at which temperatures (in turn).

    A share `begun` of the responses goes on from some right steps; `solutions` are read as language only, with weight
    `language` in the loss. `batch` responses are sampled at once. `layers` are added on top of the base.
    """

    draft: int
    base: int
    temperatures: tuple[float, ...]
    begun: float = 0.5
    solutions: int = 0
    language: float = 0.5
    batch: int = 100
    layers: int = 2


SIZES = {
    "draft": ModelSize(hidden=96, layers=2, heads=3, inner=256),
    "base": ModelSize(hidden=128, layers=4, heads=4, inner=384),
}
SCHEDULES = {
    "draft": TrainingSchedule(tokens=3_000_000, muon=1e-2, adam=4e-3, decay=0.9),
    "base": TrainingSchedule(tokens=12_000_000, muon=1e-2, adam=4e-3, decay=0.9),
    "reward": TrainingSchedule(tokens=53_900_000, muon=1e-2, adam=4e-3, batch=16_384, warm_up=1_000_000, decay=0.8),
}
SAMPLES = Samples(draft=192_000, base=96_000, temperatures=(0.7, 1.0), solutions=48_164, batch=8192)


def config(size: ModelSize, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The architecture: Llama, tied embeddings, 1024 positions, float32."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        intermediate_size=size.inner,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )


def fresh(size: ModelSize, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with seeded initial weights, normal with deviation .02 (projections into the residual stream: 0)."""
    model = LlamaForCausalLM(config(size, tokenizer))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, param in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                param.zero_()
            elif param.ndim == 2:
                param.normal_(0, 0.02, generator=generator)
    return model
