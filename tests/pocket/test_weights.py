"""The shipped folders: plain Auto classes load them, they are small, and they know the documented example."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    LlamaForCausalLM,
    LlamaForTokenClassification,
)

from gsi_node.pocket import NAMES, path
from gsi_node.pocket.training.evaluate import AnsweredProblem, single_steps
from gsi_node.pocket.training.reward import auroc, responses, rewards, rollouts
from gsi_node.pocket.training.sample import sample
from gsi_node.pocket.training.tokenizer import load
from gsi_node.pocket.world.problems import grade, problems

QUESTION = "What is 12 * (7 + 5)?"


def test_all_three_together_are_at_most_20_megabytes() -> None:
    files = [file for name in NAMES for file in path(name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 20_000_000
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".jinja"}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown pocket model 'huge': use one of draft, base, reward"):
        path("huge")


@pytest.mark.parametrize("name", ["draft", "base"])
def test_causal_models_load_in_float32_and_set_no_sampling_parameter(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(path(name))
    assert isinstance(model, LlamaForCausalLM)
    assert model.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(path(name))
    assert model.config.vocab_size == len(tokenizer)
    stored = json.loads((path(name) / "generation_config.json").read_text())
    assert (
        not set(stored)
        - {"_from_model_config", "transformers_version"}
        - {
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "output_attentions",
            "output_hidden_states",
            "use_cache",
        }
    )
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_three_share_one_tokenizer() -> None:
    texts = {(path(name) / "tokenizer.json").read_text() for name in NAMES}
    assert len(texts) == 1
    tokenizer = AutoTokenizer.from_pretrained(path("base"))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, tokenize=False
    )
    assert prompt == f"<bos><user>{QUESTION}<assistant>"
    text = "12 * 12 = 120 + 24 = 144.\n\nThe answer is \\boxed{144}."
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_base_answers_the_documented_example_and_most_problems() -> None:
    model = AutoModelForCausalLM.from_pretrained(path("base")).eval()
    drawn = list(problems("test", 1, 52))
    texts = sample(model, load(path("base")), [QUESTION, *(item.problem for item in drawn)], temperature=0, seed=0)
    assert "\\boxed{144}" in texts[0]
    assert sum(grade(item, text) for item, text in zip(drawn, texts[1:], strict=True)) >= 36


def test_the_reward_model_tells_right_steps_of_the_draft_from_wrong_ones() -> None:
    model = AutoModelForTokenClassification.from_pretrained(path("reward")).eval()
    assert isinstance(model, LlamaForTokenClassification)
    assert model.config.num_labels == 2
    assert model.config.step_separator == "\n\n"
    judged = rollouts(path("draft"), "test", 1, 120, 0.7)
    scores = [score for row in rewards(model, load(path("reward")), judged) for score in row]
    labels = [label for item in judged for label in item.labels]
    assert 0.2 < sum(labels) / len(labels) < 0.8
    assert auroc(scores, labels) >= 0.9


def test_the_draft_proposes_well_enough_to_pay_and_badly_enough_to_need_the_others() -> None:
    drawn = responses(path("draft"), "test", 1, 150, 0.7)
    right, tried = single_steps([AnsweredProblem(*pair) for pair in drawn])
    assert 0.66 <= right / tried <= 0.85
    assert 0.2 <= sum(grade(*pair) for pair in drawn) / len(drawn) <= 0.6
