"""Models of published shapes with random weights: what a forward costs, without a checkpoint.

Shapes as in the published config.json of each model. Their tokenizer is made here: single characters, and a word of its
own for every other id that the published one knows, so that a row of any ids is the same row in a reward model's text.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from gsi_node.engine.loading import find_device, find_dtype
from gsi_node.errors import ConfigError
from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.prm.heads import DecoderWithHead
from gsi_node.rewards.prm.in_process import TransformersPRM

SPECIAL = ("<pad>", "<unk>", "<eos>", "<|im_start|>", "<|im_end|>", "<extra_0>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_IDS = 151665


@dataclass(frozen=True, slots=True)
class ModelShape:
    """published: the name of a checkpoint of this shape, None where it is nobody's. ids: that its tokenizer knows.
    judges: whether it is a reward model, whose head has two layers and two outputs."""

    config: PreTrainedConfig
    published: str | None = None
    ids: int = QWEN_IDS
    judges: bool = False


def _sizes(
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


_7B = _sizes(3584, 28, (28, 4), 18944, 152064, tied=False)
_TINY = _sizes(32, 2, (4, 2), 64, 512, tied=True)
SHAPES: dict[str, ModelShape] = {
    "qwen2.5-0.5b": ModelShape(
        Qwen2Config(**_sizes(896, 24, (14, 2), 4864, 151936, tied=True)), "Qwen2.5-0.5B-Instruct"
    ),
    "qwen2.5-1.5b": ModelShape(
        Qwen2Config(**_sizes(1536, 28, (12, 2), 8960, 151936, tied=True)), "Qwen2.5-Math-1.5B-Instruct"
    ),
    "qwen2.5-7b": ModelShape(Qwen2Config(**_7B), "Qwen2.5-Math-7B-Instruct"),
    "qwen2.5-prm-7b": ModelShape(Qwen2Config(**_7B), "Qwen2.5-Math-PRM-7B", judges=True),
    "qwen3-1.7b": ModelShape(
        Qwen3Config(**_sizes(2048, 28, (16, 8), 6144, 151936, tied=True), head_dim=128), "Qwen3-1.7B", 151669
    ),
    "qwen3-8b": ModelShape(
        Qwen3Config(**_sizes(4096, 36, (32, 8), 12288, 151936, tied=False), head_dim=128), "Qwen3-8B", 151669
    ),
    "smollm2-135m": ModelShape(
        LlamaConfig(**_sizes(576, 30, (9, 3), 1536, 49152, tied=True), max_position_embeddings=8192),
        "SmolLM2-135M-Instruct",
        49152,
    ),
    "tiny": ModelShape(Qwen2Config(**_TINY), ids=500),
    "tiny-prm": ModelShape(Qwen2Config(**_TINY), ids=500, judges=True),
}
"""By the name that --shape takes; tiny and tiny-prm are for a try."""


def find_shape(name: str, *, judges: bool) -> ModelShape:
    """Raises ConfigError for an unknown one, and for a reward model where a language model is due, or the reverse."""
    fitting = [known for known, shape in SHAPES.items() if shape.judges == judges]
    kind = "reward model" if judges else "language model"
    if name not in SHAPES:
        near = get_close_matches(name, fitting, 1)
        meant = f" (is {near[0]} meant?)" if near else ""
        raise ConfigError(f"--shape: no shape {name!r}{meant}; of a {kind}: {', '.join(fitting)}")
    if name not in fitting:
        raise ConfigError(f"--shape: {name} is no {kind}; there are {', '.join(fitting)}")
    return SHAPES[name]


def language_model(name: str, device: str, dtype: str, *, graphs: bool = True) -> TransformersModel:
    """Random weights of this shape. Raises ConfigError, BackendUnavailable (a device that torch does not see)."""
    shape = find_shape(name, judges=False)
    where, kind = find_device(device), find_dtype(dtype)
    with _seeded(where):
        model = AutoModelForCausalLM.from_config(shape.config, dtype=kind)
    made = TransformersModel(model.eval(), shape_tokenizer(shape.ids), name=name, graphs=graphs)
    made.pack()
    return made


def reward_model(name: str, device: str, dtype: str) -> TransformersPRM:
    """The same of a reward model, read as Qwen's."""
    shape = find_shape(name, judges=True)
    where, kind = find_device(device), find_dtype(dtype)
    width = shape.config.hidden_size
    with _seeded(where):
        backbone = AutoModel.from_config(shape.config, dtype=kind)
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)).to(dtype=kind)
    model: Any = DecoderWithHead(backbone, head).eval()
    made = TransformersPRM(model, shape_tokenizer(shape.ids), name=name, family="qwen")
    made.pack()
    return made


@lru_cache(4)
def shape_tokenizer(ids: int) -> PreTrainedTokenizerFast:
    """Of so many ids."""
    characters = (*SPECIAL, "\n", *(c for c in string.printable if c.isprintable()))
    words = (f" ~{i:06x}" for i in range(len(characters), ids))
    vocabulary = {token: i for i, token in enumerate((*characters, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" ~[0-9a-f]{6}|[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )


@contextmanager
def _seeded(where: torch.device) -> Iterator[None]:
    """New tensors are made on `where`, of one seed, and nobody else's random numbers change."""
    with torch.random.fork_rng([where] if where.type == "cuda" else []), where:
        torch.manual_seed(0)
        yield
