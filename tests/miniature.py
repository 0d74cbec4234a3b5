"""Miniature random models with everything real ones have: chat template, special tokens, several step ends, EOS.

Kept free of pytest, so that subprocesses can build the same folders.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from gsi_node.engine.loading import load_pretrained
from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.prm.in_process import TransformersPRM

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>")
STEP_ENDS = ("\n\n", ".\n\n", "\n\n\n")
WORDS = (" the", " sum", " is", "Step ", " so", "\\boxed{", "}.", "<tool_call>")
CHARACTERS = string.digits + string.ascii_letters + " .,:;+-*/=()<>_|{}\\\n"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PADDED_ROWS = 8
CONTEXT = 256
WINDOW = 24
"""Tokens that a sliding layer of mistral, gemma2 and gemma3 sees: fewer than a prompt has."""


def miniature_tokenizer(*, chat: bool = True) -> PreTrainedTokenizerFast:
    """Characters, a few words and three step ends; `<unk>` for other characters; one non-special added token."""
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *STEP_ENDS, *WORDS[:-1], *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    whole = (*sorted(STEP_ENDS, key=len, reverse=True), *WORDS[:-1])
    pattern = "|".join(word.replace("\\", "\\\\").replace("{", "\\{").replace(".", "\\.") for word in whole)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern.replace("}", "\\}") + "|[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(WORDS[-1], special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        **({"chat_template": TEMPLATE} if chat else {}),
    )


def build_miniature(
    folder: Path | str,
    *,
    dtype: str = "float32",
    seed: int = 0,
    layers: int = 2,
    hidden: int = 32,
    architecture: str = "llama",
    reward: bool = False,
    chat: bool = True,
    end_bias: float = 1.0,
) -> Path:
    """Write a random model with its tokenizer to `folder`, in safetensors, and return the folder.

    architecture: llama, qwen2 or gpt2; mistral, whose layers all slide; gemma2, where every second one does, the first
    among them, and scores are capped; gemma3, where the others do. reward: a token classifier with two labels and
    "step_separator": "\\n\\n".
    end_bias: raises the probability of step ends and EOS, so that sampled steps are short. The output has PADDED_ROWS
    more rows than the tokenizer has tokens.
    """
    tokenizer = miniature_tokenizer(chat=chat)
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    kind = AutoModelForTokenClassification if reward else AutoModelForCausalLM
    config = _config(architecture, len(tokenizer) + PADDED_ROWS, layers, hidden, reward)
    model = kind.from_config(config)  # type: ignore[no-untyped-call]
    _widen(model, tokenizer, 0.0 if reward else end_bias)
    torch.random.set_rng_state(generator_state)
    target = Path(folder)
    model.to(getattr(torch, dtype)).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def _config(architecture: str, rows: int, layers: int, hidden: int, reward: bool) -> Any:
    shared: dict[str, Any] = {
        "vocab_size": rows,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "tie_word_embeddings": False,
    }
    if reward:
        shared |= {"num_labels": 2, "step_separator": "\n\n", "classifier_dropout": 0.1}
    if architecture == "gpt2":
        return GPT2Config(n_embd=hidden, n_layer=layers, n_head=4, n_positions=CONTEXT, **shared)
    if architecture in ("mistral", "gemma2", "gemma3"):
        shared["sliding_window"] = WINDOW
    if architecture in ("gemma2", "gemma3"):
        kinds = ["sliding_attention", "full_attention"][:: 1 if architecture == "gemma2" else -1]
        shared |= {"head_dim": hidden // 4, "query_pre_attn_scalar": hidden // 4, "layer_types": kinds * (layers // 2)}
    if architecture == "gemma2":
        shared |= {"attn_logit_softcapping": 1.0, "final_logit_softcapping": 10.0}
    kind = {
        "llama": LlamaConfig,
        "qwen2": Qwen2Config,
        "mistral": MistralConfig,
        "gemma2": Gemma2Config,
        "gemma3": Gemma3TextConfig,
    }[architecture]
    return kind(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        **shared,
    )


def _widen(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, end_bias: float) -> None:
    """Larger random weights, so that the laws are far from uniform and depend on the context."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.25)
        head = model.get_output_embeddings()
        if end_bias and head is not None:
            ends = tokenizer.convert_tokens_to_ids(["<eos>", *STEP_ENDS])
            head.weight[ends] *= 1.0 + end_bias / 4


class Miniatures:
    """Miniature folders below one root, built at first use and shared after that."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models: dict[tuple[Path, str], tuple[Any, Any]] = {}

    def folder(self, **settings: Any) -> Path:
        """The folder of these `build_miniature` settings."""
        name = "-".join(f"{key}={value}" for key, value in sorted(settings.items())) or "plain"
        folder = self._root / name
        return folder if folder.exists() else build_miniature(folder, **settings)

    def language(self, *, options: dict[str, Any] | None = None, **settings: Any) -> TransformersModel:
        """A new TransformersModel over shared weights, its prefix cache empty. options: for its constructor."""
        model, tokenizer = self._loaded(AutoModelForCausalLM, dict(settings))
        return TransformersModel(model, tokenizer, **(options or {}))

    def reward(self, *, options: dict[str, Any] | None = None, **settings: Any) -> TransformersPRM:
        """A new TransformersPRM over shared weights, its prefix cache empty."""
        model, tokenizer = self._loaded(AutoModelForTokenClassification, {"reward": True, **settings})
        return TransformersPRM(model, tokenizer, **(options or {}))

    def _loaded(self, auto: type[Any], settings: dict[str, Any]) -> tuple[Any, Any]:
        device = settings.pop("device", "cpu")
        folder = self.folder(**settings)
        if (folder, device) not in self._models:
            dtype = settings.get("dtype", "float32")
            self._models[folder, device] = load_pretrained(auto, folder, device=device, dtype=dtype)
        return self._models[folder, device]
