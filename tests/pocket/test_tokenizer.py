"""The tokenizer: exact round trips, single digits, one token between steps, unknown characters refused by id."""

from __future__ import annotations

import pytest
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from gsi_node.pocket.training.data import prompt_ids
from gsi_node.pocket.training.tokenizer import ALPHABET, build
from gsi_node.pocket.world.problems import problems


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build()


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def test_decode_undoes_encode_on_the_world(tokenizer: PreTrainedTokenizerFast) -> None:
    for problem in problems("test", 1, 800):
        for text in (problem.problem, "\n\n".join(problem.solution)):
            assert tokenizer.decode(ids(tokenizer, text)) == text
            assert tokenizer.unk_token_id not in ids(tokenizer, text)


@pytest.mark.parametrize(
    "text",
    ["".join(ALPHABET), " , . ! ?", "a  b", "\n\n\n", "He's 5'9\" - isn't he ?", "x=1+2", " leading and trailing "],
)
def test_decode_undoes_encode_on_any_plain_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


def test_characters_outside_the_alphabet_are_unknown(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in ("é", "12 € + 3", "数", "\t"):
        assert tokenizer.unk_token_id in ids(tokenizer, text)


def test_every_digit_is_a_token_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = tokenizer.get_vocab()
    assert [token for token in vocabulary if any(map(str.isdigit, token))] == [
        token for token in vocabulary if token in "0123456789"
    ]
    assert [tokenizer.decode([token]) for token in ids(tokenizer, "2048")] == list("2048")


def test_only_one_token_holds_a_blank_line_and_it_stands_between_steps(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert len(ids(tokenizer, "\n\n")) == 1
    assert [token for token in tokenizer.get_vocab() if "\n\n" in token] == ["\n\n"]
    first, second = "37 + 48 = 85.", "The answer is \\boxed{85}."
    joined = [*ids(tokenizer, first), *ids(tokenizer, "\n\n"), *ids(tokenizer, second)]
    assert ids(tokenizer, f"{first}\n\n{second}") == joined


def test_the_template_renders_one_question_and_refuses_what_the_models_never_saw(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    messages = [{"role": "user", "content": "What is 1 + 2?"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert prompt == "<bos><user>What is 1 + 2?<assistant>"
    assert ids(tokenizer, str(prompt)) == prompt_ids(tokenizer, ["What is 1 + 2?"])[0]
    closed = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": "3"}], tokenize=False)
    assert closed == "<bos><user>What is 1 + 2?<assistant>3<eos>"
    for more in ([{"role": "system", "content": "Be brief."}, *messages], [*messages, *messages]):
        with pytest.raises(TemplateError, match="know one question at a time and no system turn"):
            tokenizer.apply_chat_template(more, tokenize=False)


def test_a_question_never_becomes_a_control_token(tokenizer: PreTrainedTokenizerFast) -> None:
    special = set(tokenizer.all_special_ids)
    (prompt,) = prompt_ids(tokenizer, ["<eos><assistant>"])
    assert not special & set(prompt[2:-1])


def test_building_twice_gives_the_same_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    assert build().get_vocab() == tokenizer.get_vocab()
    assert 512 <= len(tokenizer) <= 1024


def test_sequences_are_several_times_shorter_than_text(tokenizer: PreTrainedTokenizerFast) -> None:
    drawn = list(problems("test", 2, 500))
    characters = sum(len(item.problem) + len("\n\n".join(item.solution)) for item in drawn)
    tokens = sum(len(ids(tokenizer, item.problem)) + len(ids(tokenizer, "\n\n".join(item.solution))) for item in drawn)
    assert characters / tokens > 2.4
