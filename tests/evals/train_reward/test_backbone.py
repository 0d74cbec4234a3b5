"""The kept layers: their states are those of the whole model, and the packaged classifier reads the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from evals.data.problems import Problem
from evals.train_reward.backbone import Backbone, ModelSource, empty_classifier, model_source, step_layout
from evals.train_reward.sampling import Sample
from evals.train_reward.states import ids_and_ends
from gsi_node.errors import ConfigError
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.text.codec import Codec
from gsi_node.types import Prefix, Step
from tests.miniature import TEMPLATE
from tests.rewards.family_models import family_tokenizer

CONFIGS: dict[str, type[Any]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "mistral": MistralConfig,
    "gemma": GemmaConfig,
    "gemma2": Gemma2Config,
}
LAYERS = (1, 2, 4)
PROBLEM = "What is 3 + 4?"
STEPS = ("3 + 4 = 7.\n\n", "so 7\n\n", "7")


def config_of(kind: str) -> Any:
    more = {"head_dim": 8} if kind.startswith(("gemma", "qwen3")) else {}
    return CONFIGS[kind](
        vocab_size=len(family_tokenizer(TEMPLATE)),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        **more,
    )


@pytest.fixture(params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A random model of a family."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of(request.param)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.25 if parameter.dim() > 1 else 0.5)
    model.save_pretrained(tmp_path / "model")
    family_tokenizer(TEMPLATE).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def sample(*steps: str) -> Sample:
    return Sample(Problem("p", PROBLEM, "7", "math"), "t", "base", 0, steps, True, True, "7", None)


def test_states_are_those_of_the_whole_model_and_the_package_reads_them(folder: Path, tmp_path: Path) -> None:
    backbone = Backbone(ModelSource(str(folder), dtype="float64"), LAYERS)
    read = ids_and_ends(backbone.layout, sample(*STEPS), 256)
    assert read is not None
    ids, ends = read
    states = backbone.states(ids, ends)

    whole: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    whole.model.norm = nn.Identity()
    hidden = whole(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    for layers in LAYERS:
        rows = hidden[layers][0, ends]
        size = (rows.square().mean(-1, keepdim=True) + backbone.config.rms_norm_eps).sqrt()
        torch.testing.assert_close(states[layers], rows / size, rtol=2e-6, atol=2e-6)  # norms compute in float32

    vector = torch.randn(32, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 4
    backbone.classifier(2, vector, -0.3).save_pretrained(tmp_path / "reward")
    backbone.tokenizer.save_pretrained(tmp_path / "reward")
    wanted = torch.sigmoid(states[2] @ vector - 0.3)
    plain: Any = AutoModelForTokenClassification.from_pretrained(tmp_path / "reward", dtype=torch.float64).eval()
    assert len(plain.base_model.layers) == plain.config.num_hidden_layers == 2
    assert plain.config.step_separator == "\n\n"
    torch.testing.assert_close(plain(torch.tensor([ids])).logits.softmax(-1)[0, ends, 1], wanted)

    reward = TransformersPRM.from_pretrained(tmp_path / "reward", dtype="float64")
    assert reward.family.name == "trl-chat"
    said = [
        reward(
            Prefix(PROBLEM, tuple(Step(text, (), 0.0, False) for text in STEPS[:place])), [Step(step, (), 0.0, False)]
        )
        for place, step in enumerate(STEPS)
    ]
    assert [one for values in said for one in values] == pytest.approx(wanted.tolist(), abs=1e-6)


def test_ids_end_where_the_reward_is_read() -> None:
    tokenizer = family_tokenizer(TEMPLATE)
    layout = step_layout(Codec(tokenizer))
    read = ids_and_ends(layout, sample(*STEPS), 256)
    assert read is not None
    ids, ends = read
    separator = tokenizer.get_vocab()["\n\n"]
    assert [ids[end] for end in ends] == [separator] * 3
    assert ids.count(separator) == 3
    assert ids_and_ends(layout, sample(*STEPS), len(ids)) is not None
    assert ids_and_ends(layout, sample(*STEPS), len(ids) - 1) is None  # longer than the model reads
    assert ids_and_ends(layout, sample("3 § 4\n\n"), 256) is None  # a letter without a token
    assert ids_and_ends(layout, sample("7\n\n", "<eos>"), 256) is None  # nothing but an end


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=20), "GPT2ForTokenClassification is not built of layers"),
        (
            GPTNeoXConfig(
                num_hidden_layers=2, hidden_size=8, num_attention_heads=2, intermediate_size=8, vocab_size=20
            ),
            "GPTNeoXForTokenClassification is not built of layers",
        ),
    ],
    ids=["gpt2", "gpt_neox"],
)
def test_a_model_of_another_build_is_refused_by_its_config(config: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        empty_classifier(config, 1)


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="the model has 4 layers, and 5 of them cannot be kept"):
        empty_classifier(config_of("qwen2"), 5)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("server:http://host/v1#m", "its layers are read in this process"),
        ("hf:/models/base?system_prompt=x", "takes device and dtype alone, and no system_prompt"),
        ("hf:/models/base?dtype=int3", "dtype 'int3' is unknown"),
        ("prm:/models/base", "kind 'prm' is unknown"),
    ],
)
def test_a_spec_of_another_kind_is_refused(spec: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        model_source(spec)
