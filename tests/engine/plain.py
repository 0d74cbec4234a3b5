"""Miniatures with sliding windows, as transformers loads them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.miniature import Miniatures


def settings(architecture: str) -> dict[str, Any]:
    return {"architecture": architecture, "dtype": "float64", "layers": 4, "chat": False, "end_bias": 0.0}


def plain(miniatures: Miniatures, architecture: str) -> PreTrainedModel:
    """The model as transformers loads it, with its own eager attention."""
    folder = miniatures.folder(**settings(architecture))
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    )
    return model
