"""Models with sliding windows: what they give is what their own plain forward gives, and a wrong window is noticed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AfmoeConfig,
    AutoModelForCausalLM,
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

from gsi_node.engine.batch import Batch
from gsi_node.engine.selfcheck import checked_shape
from gsi_node.errors import ConfigError
from gsi_node.graph.build import compile_gsi
from gsi_node.models.transformers import TransformersModel
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.miniature import WINDOW, Miniatures

KINDS = ("mistral", "gemma2", "gemma3")
KEY = Key(5, "windows", 0, "draft")
LAW = SamplingLaw(max_step_tokens=2 * WINDOW)
SHORT = SamplingLaw(max_step_tokens=3)
TOLERANCE = 1e-5
"""Nats a token: eager attention takes its softmax in float32. A window one token off moves them by more than 0.001."""


def settings(architecture: str) -> dict[str, Any]:
    return {"architecture": architecture, "dtype": "float64", "layers": 4, "chat": False, "end_bias": 0.0}


def plain(miniatures: Miniatures, architecture: str) -> PreTrainedModel:
    """The model as transformers loads it, with its own eager attention."""
    folder = miniatures.folder(**settings(architecture))
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    )
    return model


def apart(miniatures: Miniatures, architecture: str, model: TransformersModel, law: SamplingLaw = LAW) -> float:
    """The largest difference, in nats a token, between what `model` says of a step, sampled or given, and a full
    forward without any cache; over prefixes shorter than the window, as long, a token longer, and much longer."""
    alone, draw, worst = plain(miniatures, architecture), random.Random(0), 0.0

    @cache
    def log_probs(ids: tuple[int, ...]) -> Tensor:
        with torch.inference_mode():
            logits = alone(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        return torch.log_softmax(logits[:, : model.tokens.size] / law.temperature, -1)

    base = len(model.prefix_ids(Prefix("")))
    for length in (base + 1, WINDOW - 2, WINDOW, WINDOW + 1, 3 * WINDOW):
        prefix = Prefix("".join(draw.choices("123+=", k=length - base)))
        prompt = model.prefix_ids(prefix)
        assert len(prompt) == length
        given = [
            Step("", tuple(draw.randrange(9, 60) for _ in range(size)), 0.0, False)
            for size in (1, WINDOW, law.max_step_tokens)
            if size <= law.max_step_tokens
        ]
        sampled = model.sample(prefix, 3, KEY, law)
        values = [*(step.log_prob for step in sampled), *(score.log_prob for score in model.score(prefix, given, law))]
        for step, value in zip([*sampled, *given], values, strict=True):
            own = log_probs(prompt + step.token_ids)[len(prompt) - 1 :]
            wanted = math.fsum(float(own[j, token]) for j, token in enumerate(step.token_ids))
            worst = max(worst, abs(value - wanted) / len(step.token_ids))
    return worst


@pytest.mark.parametrize("architecture", KINDS)
def test_numbers_are_those_of_the_models_own_forward(miniatures: Miniatures, architecture: str) -> None:
    model = miniatures.language(**settings(architecture))
    assert apart(miniatures, architecture, model) < TOLERANCE
    assert apart(miniatures, architecture, model, SHORT) < TOLERANCE  # behind what was harvested


def test_a_run_whose_draft_is_its_base_has_no_log_ratio(miniatures: Miniatures) -> None:
    """As users load them: steps sampled, scored and committed behind a prompt longer than the window."""
    config = GSIConfig(n=3, max_steps=4, max_step_tokens=20, threshold=1e9, record="candidates")
    with load_model(f"hf:{miniatures.folder(architecture='gemma3')}") as model:  # type: ignore[attr-defined]
        graph = compile_gsi(draft=model, base=model, reward=load_reward("verifier"), config=config)
        steps = graph.invoke({"problem": "12 + 3 ="})["steps"]
        assert len(model.prefix_ids(Prefix("12 + 3 ="))) > WINDOW
    batches = [step["rejected"] for step in steps]
    ratios = [candidate["log_ratio"] for batch in batches for candidate in batch["candidates"]]
    assert len(ratios) == 3 * len(steps) > 0
    assert max(map(abs, ratios)) < 1e-3


Plant = Callable[[pytest.MonkeyPatch], None]


def _wider_by(tokens: int) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        real = Batch._bias

        def bias(self: Batch, window: int | None, length: int) -> Tensor | None:
            wider = real(self, window and window + tokens, length)
            if window:
                self._columns.biases[window] = self._columns.biases.pop(window + tokens)
            return wider

        patch.setattr(Batch, "_bias", bias)

    plant.__name__ = f"_wider_by_{tokens}"
    return plant


def _no_window(patch: pytest.MonkeyPatch) -> None:
    real = Batch._bias
    patch.setattr(Batch, "_bias", lambda self, window, length: real(self, None, length))


def _in_every_layer(patch: pytest.MonkeyPatch) -> None:
    """As if one window were that of the model: layers with full attention slide too."""
    real = Batch._bias
    seen: list[int] = []

    def bias(self: Batch, window: int | None, length: int) -> Tensor | None:
        seen.extend([window] if window else [])
        return real(self, window or (seen[-1] if seen else 2), length)

    patch.setattr(Batch, "_bias", bias)


def _columns_for_positions(patch: pytest.MonkeyPatch) -> None:
    real = Batch.changed

    def changed(self: Batch) -> None:
        real(self)
        if self.groups:
            columns = torch.arange(self._seats.positions.shape[1]).expand_as(self._seats.positions)
            self._seats = replace(self._seats, positions=columns)

    patch.setattr(Batch, "changed", changed)


def _ignored_where(own: bool) -> Plant:
    """The window masks the prefix alone, or own tokens alone."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = Batch._bias

        def bias(self: Batch, window: int | None, length: int) -> Tensor | None:
            slid, full = real(self, window, length), real(self, None, length)
            if slid is full or slid is None:
                return slid
            full = torch.zeros_like(slid) if full is None else full.expand_as(slid)
            tokens = self._seats.tokens
            parts = (slid, full) if own else (full, slid)
            return torch.cat((parts[0][..., :tokens], parts[1][..., tokens:]), dim=-1)

        patch.setattr(Batch, "_bias", bias)

    plant.__name__ = "_ignored_in_own_tokens" if own else "_ignored_in_the_prefix"
    return plant


def _softcap_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = Batch.attend
    patch.setattr(
        Batch,
        "attend",
        lambda self, layer, query, scale, softcap=None, window=None: real(self, layer, query, scale, None, window),
    )


MISTAKES = [
    _wider_by(1),
    _wider_by(-1),
    _no_window,
    _in_every_layer,
    _columns_for_positions,
    _ignored_where(own=True),
    _ignored_where(own=False),
    _softcap_forgotten,
]


@pytest.mark.parametrize("plant", MISTAKES, ids=lambda plant: plant.__name__)
def test_a_planted_mistake_is_noticed(plant: Plant, miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the full forward, and by the check at load."""
    model = miniatures.language(**settings("gemma2"))
    plant(monkeypatch)
    if plant is not _columns_for_positions:  # which needs company to show: of one prefix, columns are positions
        assert apart(miniatures, "gemma2", model) > 100 * TOLERANCE
    for dtype in ("float64", "bfloat16", "float16"):
        with pytest.raises(ConfigError, match="other logits in a batch than alone"):
            miniatures.language(**{**settings("gemma2"), "dtype": dtype})


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
    ],
    ids=["linear", "chunked", "sinks", "unsaid"],
)
def test_other_attention_stays_refused(config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_shape(random_model(config), None)
