"""GPU memory that a run may take, by model and n: weights, and what the engine's own bounds and estimate say.

Shapes as in gsi_node/tools/shapes.py, built without weights; nothing is measured. Not counted: CUDA's
own context, and what a layer works in.
"""

from __future__ import annotations

import inspect
from math import ceil
from typing import Any

import torch
from transformers import Qwen2ForCausalLM, Qwen2Model, Qwen3ForCausalLM

from gsi_node import GSIConfig
from gsi_node.engine.budget import Extent, MemoryBudget
from gsi_node.engine.kv import KVShape
from gsi_node.engine.requests import WIDTH
from gsi_node.models.transformers import TransformersModel
from gsi_node.tools.shapes import SHAPES

NS = (4, 16, 64)
DTYPE = torch.bfloat16
GIB = 1 << 30


PUBLISHED = {shape.published: shape.config for shape in SHAPES.values()}
MODELS: dict[str, tuple[str, type[Any], Any]] = {
    name: (role, kind, PUBLISHED[name])
    for name, role, kind in (
        ("Qwen2.5-Math-1.5B-Instruct", "draft", Qwen2ForCausalLM),
        ("Qwen2.5-Math-7B-Instruct", "base", Qwen2ForCausalLM),
        ("Qwen2.5-Math-PRM-7B", "reward", Qwen2Model),
        ("Qwen3-1.7B", "draft", Qwen3ForCausalLM),
        ("Qwen3-8B", "base", Qwen3ForCausalLM),
    )
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
