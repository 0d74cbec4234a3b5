"""Miniature random checkpoints of every family of reward models, saved as the published ones are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from tests.miniature import CHARACTERS, TEMPLATE

HIDDEN = 32
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>", "<extra_0>", "<head>", "</head>", "<eot>")
WORDS = (" ки", " +", " -", "\n\n", ".\n\n", ".\n", "?\n", " \n\n\n\n")
"""As in Qwen's vocabulary, ".\\n" and "?\\n" are one token where they are encoded together."""
LLAMA_TEMPLATE = (
    "{{ bos_token }}<head>system</head>\n\nDate<eot>{% for message in messages %}"
    "<head>{{ message['role'] }}</head>\n\n{{ message['content'] | trim }}<eot>{% endfor %}"
    "{% if add_generation_prompt %}<head>assistant</head>\n\n{% endif %}"
)


def family_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """Characters, the families' own tokens and a few merged ones."""
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *WORDS, *CHARACTERS, "?"))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    whole = "|".join(word.replace("+", "\\+").replace("?", "\\?").replace(".", "\\.") for word in WORDS[:3])
    pattern = whole + "| \\n\\n\\n\\n|\\.\\n\\n|\\n\\n|\\.\\n|\\?\\n|[\\s\\S]"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        **({"chat_template": template} if template else {}),
    )


TEMPLATES = dict.fromkeys(("qwen", "reasonflux", "orm", "trl-chat", "trl"), TEMPLATE) | {"rlhflow": LLAMA_TEMPLATE}
NAMES = {
    "reasonflux": "ReasonFlux-PRM-0B",
    "versa": "VersaPRM-Base-0B",
    "qwen": "Qwen2.5-Math-PRM-0B",
    "skywork": "Skywork-o1-Open-PRM-0B",
    "shepherd": "math-shepherd-mistral-0b-prm",
    "rlhflow": "Llama3.1-0B-PRM-Deepseek-Data",
    "trl": "Qwen2-Reward-Math",
    "trl-chat": "reward",
    "orm": "Reward-V2",
}
ARCHITECTURES = dict.fromkeys(("qwen", "reasonflux"), "Qwen2ForProcessRewardModel") | {"skywork": "Qwen2ForPrmModel"}


def build_family(root: Path, family: str) -> Path:
    """Write a float64 checkpoint of the family below `root`; the folder is named as the published one is."""
    folder = root / NAMES[family]
    if folder.exists():
        return folder
    tokenizer = family_tokenizer(TEMPLATES.get(family))
    torch.manual_seed(sum(map(ord, family)))
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "tie_word_embeddings": False,
    }
    config: Any
    auto: Any = AutoModelForCausalLM
    if family in ("shepherd", "rlhflow", "versa"):
        config = LlamaConfig(**shared)
    elif family in ARCHITECTURES:
        config = Qwen2Config(**shared)
    elif family == "orm":
        config, auto = Qwen2Config(**shared | {"num_labels": 1}), AutoModelForSequenceClassification
    else:
        shared |= {"step_separator": "\n\n"} if family == "trl-chat" else {}
        config, auto = Qwen2Config(**shared | {"num_labels": 2}), AutoModelForTokenClassification
    model = auto.from_config(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.25 if parameter.dim() > 1 else 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if family in ARCHITECTURES:
        _add_head(folder, family)
    return folder


def _add_head(folder: Path, family: str) -> None:
    """What a custom class would have saved beside the backbone; its code is named, but must not be run."""
    weights = load_file(folder / "model.safetensors")
    layers = {"v_head.summary": 1} if family == "skywork" else {"score.0": HIDDEN, "score.2": 2}
    for layer, width in layers.items():
        weights[f"{layer}.weight"] = torch.randn(width, HIDDEN, dtype=torch.float64) * 0.5
        weights[f"{layer}.bias"] = torch.randn(width, dtype=torch.float64)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["architectures"] = [ARCHITECTURES[family]]
    config["auto_map"] = {"AutoModel": f"modeling_custom.{ARCHITECTURES[family]}"}
    path.write_text(json.dumps(config), "utf-8")
