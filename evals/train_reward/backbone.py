"""The first layers of a language model, and what they make of a step: the hidden state that a head reads at its end.

  h_k(x, y) / rms(h_k(x, y))      after k layers, at the separator behind step y

The last norm of the cut model does the division, with its weights taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gsi_node.engine.loading import find_device, find_dtype, load_pretrained, model_digest
from gsi_node.errors import ConfigError
from gsi_node.pocket import path
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.rewards.prm.layout import NONE, StepLayout
from gsi_node.specs.kinds import MODELS
from gsi_node.specs.load import check_spec
from gsi_node.text.codec import Codec
from gsi_node.text.folders import find_source, hint
from gsi_node.text.reading import reading
from gsi_node.types import Ids

SEPARATOR = "\n\n"
Hook = Callable[[nn.Module, object, Tensor | tuple[Tensor, ...]], None]
_WHERE = ("device", "dtype")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """--model, read: a folder or a hub name, and where and in which dtype its forwards run."""

    name: str
    device: str = "cpu"
    dtype: str = "float32"


def model_source(spec: str) -> ModelSource:
    """Of hf:NAME or pocket:NAME. Raises ConfigError, also for an option that decides nothing here."""
    one, *more = check_spec(spec, MODELS, "model")
    if more or one.kind not in ("hf", "pocket"):
        raise ConfigError(f"--model {spec}: its layers are read in this process: want hf:FOLDER?dtype=bfloat16")
    if other := [name for name, _ in one.options if name not in _WHERE]:
        raise ConfigError(
            f"--model {spec}: takes {' and '.join(_WHERE)} alone, and no {other[0]}; how problems are put to the "
            "solvers stands in their specs"
        )
    source = ModelSource(str(path(one.target)) if one.kind == "pocket" else one.target, **dict(one.options))
    find_device(source.device), find_dtype(source.dtype)
    return source


def read_config(source: ModelSource) -> PreTrainedConfig:
    """The model's config. Raises BackendUnavailable."""
    where, local = find_source(source.name)
    with reading(f"model {where!r}", hint(local)):
        config = AutoConfig.from_pretrained(where, local_files_only=local, trust_remote_code=False)
    return cast(PreTrainedConfig, config)


def empty_classifier(config: PreTrainedConfig, layers: int) -> PreTrainedModel:
    """A token classifier over the first `layers`, without weights: a score with two labels, and step_separator in its
    config. Raises ConfigError for a model of another build."""
    kind = cast(type[PreTrainedModel] | None, MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING.get(type(config), None))
    told = config.to_dict()
    whole = getattr(config, "num_hidden_layers", None)
    if kind is None or not isinstance(whole, int):
        raise ConfigError(f"--model: transformers has no token classifier for {config.model_type!r} models")
    if not 1 <= layers <= whole:
        raise ConfigError(f"--layers: the model has {whole} layers, and {layers} of them cannot be kept")
    cut = {
        name: value[:layers] if isinstance(value, list) and len(value) == whole else value
        for name, value in told.items()
    }
    labels = {"id2label": {0: "wrong", 1: "good"}, "label2id": {"wrong": 0, "good": 1}}
    named = {"architectures": [kind.__name__], "num_hidden_layers": layers, "step_separator": SEPARATOR}
    with torch.device("meta"):
        model = kind(type(config).from_dict(cut | labels | named))
    score, stack, norm = (
        getattr(part, name, None)
        for part, name in ((model, "score"), (model.base_model, "layers"), (model.base_model, "norm"))
    )
    linear = isinstance(score, nn.Linear) and "bias" in dict(score.named_parameters())
    if not (linear and isinstance(norm, nn.Module) and isinstance(stack, nn.ModuleList) and len(stack) == layers):
        raise ConfigError(
            f"--model: {kind.__name__} is not built of layers, a last norm and a linear score, as those of Qwen2, "
            "Llama, Mistral and Gemma are; take a model of such a family"
        )
    return model


class Backbone:
    """The model, cut behind the deepest of `layers`. digest: of its config and weights as they were loaded."""

    def __init__(self, source: ModelSource, layers: Sequence[int]) -> None:
        """Raises GSIError where it cannot be loaded."""
        model, tokenizer = load_pretrained(AutoModelForCausalLM, source.name, device=source.device, dtype=source.dtype)
        self.source = source
        self.tokenizer: PreTrainedTokenizerBase = tokenizer
        self.config = model.config
        self.digest = model_digest(model, ())
        self.body = cast(PreTrainedModel, model.base_model)
        self._stack = cast(nn.ModuleList, self.body.layers)[: max(layers)]
        self.body.layers = self._stack
        self._norm = cast(nn.Module, self.body.norm)
        _take_weights_out(self._norm, self.config.hidden_size, self.body)
        self.layout = step_layout(Codec(tokenizer, source.name))
        self._layers = tuple(layers)

    @torch.inference_mode()
    def states(self, ids: Ids, ends: Sequence[int]) -> dict[int, Tensor]:
        """The states after each number of layers at the tokens `ends`, in the model's dtype: shape (ends, width)."""
        caught: dict[int, Tensor] = {}

        def catch(layers: int) -> Hook:
            def keep(module: nn.Module, given: object, output: Tensor | tuple[Tensor, ...]) -> None:
                whole = output[0] if isinstance(output, tuple) else output
                caught[layers] = whole[0, list(ends)]

            return keep

        hooks = [self._stack[layers - 1].register_forward_hook(catch(layers)) for layers in self._layers]
        try:
            self.body(input_ids=torch.tensor([ids], device=self.body.device), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return {layers: self._norm(rows).cpu() for layers, rows in caught.items()}

    def classifier(self, layers: int, vector: Tensor, bias: float) -> PreTrainedModel:
        """The token classifier over the first `layers` whose logits are (0, v·state + b), in the model's dtype."""
        model = empty_classifier(self.config, layers)
        deeper = tuple(f"layers.{i}." for i in range(layers, len(self._stack)))
        body = {name: value for name, value in self.body.state_dict().items() if not name.startswith(deeper)}
        score = {"weight": torch.stack([torch.zeros_like(vector), vector]), "bias": torch.tensor([0.0, bias])}
        whole = {f"{model.base_model_prefix}.{name}": value for name, value in body.items()}
        whole |= {f"score.{name}": value.to(self.body.device, self.body.dtype) for name, value in score.items()}
        model.load_state_dict(whole, assign=True)
        model.eval()
        return model


def step_layout(codec: Codec) -> StepLayout:
    """How the finished reward will write problem and steps."""
    return FAMILIES["trl-chat"].layout(codec, NONE, {"step_separator": SEPARATOR})


def _take_weights_out(norm: nn.Module, width: int, body: PreTrainedModel) -> None:
    """Leave the norm nothing but the division. Its weights are 1 then, or 0 where it adds 1 to them (Gemma)."""
    rows = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).to(body.device, body.dtype)
    for value in (1.0, 0.0):
        with torch.no_grad():
            for name, weight in norm.named_parameters():
                weight.fill_(0.0 if name == "bias" else value)
            size = norm(rows).double().square().mean(-1)
        if bool(((size - 1).abs() < 0.02).all()):
            return
    raise ConfigError(f"--model: its last norm, {type(norm).__name__}, does not divide by a root mean square")
