"""Models that give a family's outputs at every token: a plain transformers backbone and a head read by ourselves.

Published reward models often are custom classes whose code would have to be trusted. Their weights are a known backbone
and one or two linear layers: the backbone is loaded by transformers, the head from the safetensors files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as hf_logging

from gsi_node.engine.loading import load_pretrained
from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.rewards.prm.families import Family, Head
from gsi_node.text.codec import Codec
from gsi_node.text.folders import find_source

_AUTO: dict[Head, type[Any]] = {
    "labels": AutoModelForTokenClassification,
    "sequence": AutoModelForSequenceClassification,
    "mlp": AutoModel,
    "value": AutoModel,
    "words": AutoModelForCausalLM,
}
_LAYERS: dict[Head, tuple[str, ...]] = {"mlp": ("score.0", "score.2"), "value": ("v_head.summary",)}
_IGNORED = ("lm_head.weight",)  # left over from the language model that was trained on
_SCALED = ("final_logit_softcapping", "logits_scaling", "logit_scale")


@dataclass(slots=True)
class Outputs:
    """logits: shape (B, L, outputs)."""

    logits: Tensor


class DecoderWithHead(nn.Module):
    """A decoder without its language-model head, and `head` on every hidden state; with what the engine, and who counts
    FLOPs, ask of a model of transformers."""

    base_model_prefix = "backbone"

    def __init__(self, backbone: PreTrainedModel, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.config = backbone.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.backbone.dtype

    @property
    def _supports_sdpa(self) -> bool:
        return self.backbone._supports_sdpa

    def get_input_embeddings(self) -> nn.Module:
        """The table of the tokens' vectors."""
        return self.backbone.get_input_embeddings()

    def get_output_embeddings(self) -> None:
        """None: it has no language-model head."""

    def forward(self, input_ids: Tensor, **settings: Any) -> Outputs:
        """Outputs at every token of input_ids, shape (B, L). settings: what the backbone takes beside them."""
        hidden = self.backbone(input_ids=input_ids, **settings)
        return Outputs(self.head(hidden.last_hidden_state))


def load(
    name_or_path: str | Path,
    family: Family,
    *,
    device: str,
    dtype: str,
    compile: bool = False,
    quantization: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The checkpoint as `family` reads it (see `adapted` for what is still to do) and its tokenizer."""
    with _unreported(family.head in _LAYERS):
        model, tokenizer = load_pretrained(
            _AUTO[family.head], name_or_path, device=device, dtype=dtype, compile=compile, quantization=quantization
        )
    if family.head in _LAYERS:
        weights = _head_weights(name_or_path, model, _LAYERS[family.head])
        model = _headed(model, _stack([weights[layer] for layer in _LAYERS[family.head]]).to(model.device, model.dtype))
    return model, tokenizer


def adapted(model: PreTrainedModel, family: Family, codec: Codec) -> PreTrainedModel:
    """The model with the family's outputs at every token; ConfigError if it is no model of this family."""
    if isinstance(model, DecoderWithHead):
        return model
    name = type(model).__name__
    labels = int(getattr(model.config, "num_labels", 0))
    if family.head in ("labels", "sequence") and labels != family.outputs:
        raise ConfigError(
            f"reward model {codec.name} has {labels} labels, but family {family.name!r} reads {family.outputs}; "
            "is it a reward model of this family?"
        )
    if family.head == "labels":
        return model
    if family.head == "sequence":
        score = getattr(model, "score", None)
        if not isinstance(score, nn.Linear):
            raise ConfigError(
                f"{name} has no linear score over a decoder's tokens; only decoders can be outcome models"
            )
        return _headed(cast(PreTrainedModel, model.base_model), score)
    if family.words is None:
        raise ConfigError(f"family {family.name!r} keeps its head in its own files: load it with from_pretrained")
    return _headed(cast(PreTrainedModel, model.base_model), _two_words(model, codec, family.words))


@contextmanager
def _unreported(wanted: bool) -> Iterator[None]:
    """Without transformers' table of the weights it leaves to us."""
    before = hf_logging.get_verbosity()
    if wanted:
        hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


def _headed(backbone: PreTrainedModel, head: nn.Module) -> PreTrainedModel:
    return cast(PreTrainedModel, DecoderWithHead(backbone, head).eval())


def _two_words(model: PreTrainedModel, codec: Codec, words: tuple[str, str]) -> nn.Linear:
    """The two rows of the language-model head that belong to `words`: their logits, and no others."""
    scaled = [key for key in _SCALED if getattr(model.config, key, None) not in (None, 1.0)]
    head = model.get_output_embeddings()
    if scaled or not isinstance(head, nn.Linear):
        raise ConfigError(
            f"{type(model).__name__} does not give plain logits ({', '.join(scaled) or 'no linear head'})"
        )
    rows = []
    for word in words:
        ids = codec.encode_marked(word)
        if not ids or codec.decode(ids[-1:]).strip() != word.strip():
            raise ConfigError(f"the tokenizer of reward model {codec.name} has no token for {word!r}")
        rows.append(ids[-1])
    bias = getattr(head, "bias", None)
    return _linear(head.weight[rows], None if bias is None else bias[rows])


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer


def _stack(layers: Sequence[Mapping[str, Tensor]]) -> nn.Module:
    """The linear layers with a ReLU between two."""
    linear = [_linear(layer["weight"], layer["bias"]) for layer in layers]
    return linear[0] if len(linear) == 1 else nn.Sequential(linear[0], nn.ReLU(), *linear[1:])


def _head_weights(
    name_or_path: str | Path, backbone: PreTrainedModel, layers: Sequence[str]
) -> dict[str, dict[str, Tensor]]:
    """weight and bias of each layer of the head, from the safetensors files that hold the backbone too.

    A file with a key that is neither the backbone's nor the head's is refused: it is another kind of model.
    """
    found: dict[str, Tensor] = {}
    wanted = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    prefix = backbone.base_model_prefix
    known = {f"{prefix}.{key}" for key in backbone.state_dict()} | wanted | set(_IGNORED)
    unexpected = []
    for path in _safetensors(name_or_path):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (no mapping)
                if key in wanted:
                    found[key] = file.get_tensor(key)
                elif key not in known and not key.endswith("rotary_emb.inv_freq"):
                    unexpected.append(key)
    if unexpected:
        raise ConfigError(
            f"reward model {name_or_path} has weights this family does not have, {', '.join(sorted(unexpected)[:4])}"
            f"{' …' if len(unexpected) > 4 else ''}: name another family with prm:NAME@family"
        )
    if missing := sorted(wanted - found.keys()):
        raise BackendUnavailable(
            f"reward model {name_or_path} has no weights for {', '.join(missing)}; is it a model of this family?"
        )
    width = backbone.config.hidden_size
    wrong = [layer for layer in layers[:1] if found[f"{layer}.weight"].shape[1] != width]
    if wrong:
        raise ConfigError(f"reward model {name_or_path}: {wrong[0]} does not fit hidden states of width {width}")
    return {layer: {part: found[f"{layer}.{part}"] for part in ("weight", "bias")} for layer in layers}


def _safetensors(name_or_path: str | Path) -> list[Path]:
    """The weight files of a folder, or of a hub name that was just loaded."""
    source, local = find_source(name_or_path)

    def file(name: str) -> Path | None:
        path = str(Path(source) / name) if local else try_to_load_from_cache(source, name)
        return Path(path) if isinstance(path, str) and Path(path).is_file() else None

    index = file("model.safetensors.index.json")
    if index is None:
        names = ["model.safetensors"]
    else:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    return [path for path in map(file, names) if path is not None]
