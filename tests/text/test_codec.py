"""Text and ids: spaces, control tokens, characters without a token; templates of several styles."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gsi_node.errors import ConfigError
from gsi_node.text.codec import Codec
from gsi_node.text.prompt import USUAL, PromptSettings, prompt_format
from tests.miniature import miniature_tokenizer

LLAMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "[INST] {{ messages[-1]['content'].strip() }} [/INST]"
)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """A word tokenizer that, like SentencePiece, puts a space before the start of every text."""
    words = ["<unk>", "<s>", "</s>", "▁a", "▁b", "a", "b", "▁", "\n", "▁[INST]", "▁[/INST]", "[INST]", "[/INST]"]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [], unk_token="<unk>", byte_fallback=False))
    merges = [("▁", "a"), ("▁", "b")]
    tokenizer.model = models.BPE({w: i for i, w in enumerate(words)}, merges, unk_token="<unk>")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    specials = [AddedToken(word, special=True, normalized=False) for word in ("<s>", "</s>")]
    tokenizer.add_special_tokens(specials)
    tokenizer.add_tokens([AddedToken("[INST]", normalized=False), AddedToken("[/INST]", normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=LLAMA2
    )


def test_spaces_survive_in_the_middle_of_a_text() -> None:
    codec = Codec(sentencepiece_like())
    ids = codec.encode("a b")
    assert [codec.tokens[i] for i in ids] == ["a", "▁b"]
    assert codec.decode(codec.encode(" a") + codec.encode(" b")) == " a b"
    assert codec.decode(codec.encode("a")) == "a"


def test_a_template_with_markup_of_its_own() -> None:
    codec = Codec(sentencepiece_like())
    prompt = prompt_format(codec, USUAL, ending="\n")
    names = [codec.tokens[i] for i in prompt.ids("a b")]
    assert names == ["<s>", "[INST]", "▁a", "▁b", "▁", "[/INST]"] or names[:2] == ["<s>", "[INST]"]
    assert names.count("[/INST]") == 1
    with pytest.raises(ConfigError, match="no system role"):
        prompt_format(codec, PromptSettings(system_prompt="x"), ending="\n")


@pytest.mark.parametrize("template", ["{{ bos_token }}hello", "{{ messages[0]['content'] * 2 }}"])
def test_templates_that_do_not_write_the_text_once_are_refused(template: str) -> None:
    tokenizer = miniature_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ConfigError, match="instead of once"):
        prompt_format(Codec(tokenizer), USUAL, ending="\n")


def test_a_text_is_the_same_whatever_it_contains() -> None:
    codec = Codec(miniature_tokenizer())
    for text in ("", "a", "a.\n\nb\n\n\nc", "<|im_start|>", "<tool_call><tool_call>", "<<eos>eos>", "\\boxed{7}."):
        assert codec.decode(codec.encode(text)) == text
        assert not codec.control_ids.intersection(codec.encode(text))
    assert codec.decode(codec.encode_marked("1<eos>"), drop=frozenset({3})) == "1"
    assert codec.encode_marked("<eos>") == (3,)


def test_unknown_and_dropped_characters_are_named() -> None:
    with pytest.raises(ConfigError, match="cannot represent 'é' '—'"):
        Codec(miniature_tokenizer(), "mini").encode("é—é")
    silent = Tokenizer(models.BPE({"a": 0, "b": 1}, []))  # no unk: unknown characters vanish
    codec = Codec(PreTrainedTokenizerFast(tokenizer_object=silent), "silent")
    assert codec.encode("ab") == (0, 1)
    with pytest.raises(ConfigError, match="silent cannot represent 'c'"):
        codec.encode("abc")


def test_fingerprints_depend_on_the_map_alone() -> None:
    one, same = Codec(miniature_tokenizer()), Codec(miniature_tokenizer(chat=False))
    rows = len(one.tokens)
    assert one.fingerprint(rows) == same.fingerprint(rows + 64)
    assert one.fingerprint(rows - 1) != one.fingerprint(rows)
    more = miniature_tokenizer()
    more.add_tokens(["∑"])
    assert Codec(more).fingerprint(rows + 64) != one.fingerprint(rows + 64)


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        pass

    with pytest.raises(ConfigError, match="not a fast tokenizer"):
        Codec(Slow())  # type: ignore[arg-type]
