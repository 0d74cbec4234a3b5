"""GPU memory that a run may take, by model and n: weights, and what the engine's own bounds and estimate say.

Shapes as in the published config.json of each model, built without weights; nothing is measured. Not counted: CUDA's
own context, and what a layer works in.
"""

from __future__ import annotations

import inspect
from math import ceil
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Model, Qwen3Config, Qwen3ForCausalLM

from gsi_node import GSIConfig
from gsi_node.engine.budget import Extent, MemoryBudget
from gsi_node.engine.kv import KVShape
from gsi_node.engine.requests import WIDTH
from gsi_node.models.transformers import TransformersModel

NS = (4, 16, 64)
DTYPE = torch.bfloat16
GIB = 1 << 30


def _shape(
    hidden: int, layers: int, heads: tuple[int, int], mlp: int, vocabulary: int, *, tied: bool
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": mlp,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


_QWEN_7B = _shape(3584, 28, (28, 4), 18944, 152064, tied=False)
MODELS: dict[str, tuple[str, type[Any], Any]] = {
    "Qwen2.5-Math-1.5B-Instruct": (
        "draft",
        Qwen2ForCausalLM,
        Qwen2Config(**_shape(1536, 28, (12, 2), 8960, 151936, tied=True)),
    ),
    "Qwen2.5-Math-7B-Instruct": ("base", Qwen2ForCausalLM, Qwen2Config(**_QWEN_7B)),
    "Qwen2.5-Math-PRM-7B": ("reward", Qwen2Model, Qwen2Config(**_QWEN_7B)),
    "Qwen3-1.7B": (
        "draft",
        Qwen3ForCausalLM,
        Qwen3Config(**_shape(2048, 28, (16, 8), 6144, 151936, tied=True), head_dim=128),
    ),
    "Qwen3-8B": (
        "base",
        Qwen3ForCausalLM,
        Qwen3Config(**_shape(4096, 36, (32, 8), 12288, 151936, tied=False), head_dim=128),
    ),
}


def parameters(name: str) -> int:
    """Of a model, those of shared tables once."""
    _, kind, config = MODELS[name]
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in kind(config).parameters())


def batch_bytes(name: str, n: int) -> int:
    """Of the largest batch of one problem: n steps of max_step_tokens that end a response of max_tokens."""
    role, _, config = MODELS[name]
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = KVShape(config.num_hidden_layers, config.num_key_value_heads, width, DTYPE, torch.device("meta"))
    budget = MemoryBudget(bound("batch_bytes"), token_bytes=shape.token_bytes, heads=config.num_attention_heads)
    own = GSIConfig().max_step_tokens
    before = GSIConfig().max_tokens - own
    fed = WIDTH if role == "reward" else max(1, bound("logits_bytes") // (4 * config.vocab_size) // own)

    def most(rows: int, at_once: int | None) -> int:
        parts = [Extent(before, min(rows, n), own)]
        while len(parts) < ceil(n / rows) and budget.fits([*parts, parts[0]], at_once):
            parts.append(parts[0])
        return budget.need(parts, at_once)

    sampled = 0 if role == "reward" else most(WIDTH, 1)
    read = 0 if role == "draft" else most(fed, None)
    logits = bound("logits_bytes") if role == "base" else 0
    return max(sampled, read + logits)


def bound(name: str) -> int:
    """The default of an option of `hf:`, in bytes."""
    return int(inspect.signature(TransformersModel).parameters[name].default)


def memory() -> str:
    """The table of the README."""
    lines = [
        f"| model | as | parameters | weights | {' | '.join(f'n = {n}' for n in NS)} |",
        "| --- " * (4 + len(NS)) + "|",
    ]
    for name, (role, _, _) in MODELS.items():
        count = parameters(name)
        weights = count * DTYPE.itemsize
        totals = (weights + bound("cache_bytes") + batch_bytes(name, n) for n in NS)
        cells = " | ".join(f"{size / GIB:.1f}" for size in (weights, *totals))
        lines.append(f"| {name} | {role} | {count / 1e9:.2f} B | {cells} |")
    return "\n".join(lines) + "\n"
