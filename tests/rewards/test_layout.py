"""Layouts on a SentencePiece-like tokenizer, whose texts begin with a space of its own, and one of the user's own."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gsi_node.errors import ConfigError
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.rewards.prm.layout import LayoutOptions, StepLayout, bos, marker, start_of_text
from gsi_node.text.codec import Codec
from tests.miniature import CHARACTERS
from tests.rewards.family_models import TEMPLATES, family_tokenizer

PROBLEM = "What is 2+2?"


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama's and Mistral's: "▁" before a text and for every space; "▁ки", "▁+" and "▁-" are tokens."""
    words = ("<unk>", "<s>", "</s>", "▁ки", "▁+", "▁-", "▁So", "▁", *CHARACTERS, "?")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁ки|▁\\+|▁-|▁So|[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words[:3]])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def test_math_shepherd_ids_are_those_of_the_whole_text() -> None:
    """Its card encodes "problem step ки\\nstep ки" in one piece with BOS; it reads "▁ки", "▁+" and "▁-"."""
    tokenizer = llama_tokenizer()
    codec = Codec(tokenizer)
    layout = FAMILIES["shepherd"].layout(codec, LayoutOptions(), {})
    ids = layout.prompt(PROBLEM) + layout.committed("2+2=4.\n\n", True) + layout.candidate("So it is 4.", False)
    whole = f"{PROBLEM} 2+2=4. ки\nSo it is 4. ки"
    assert list(ids) == [1, *tokenizer.encode(whole, add_special_tokens=False)]
    names = codec.tokens
    assert names[ids[-1]] == "▁ки"
    assert [names[codec.encode_marked(word)[-1]] for word in FAMILIES["shepherd"].words or ()] == ["▁+", "▁-"]


def test_trl_encodes_every_part_as_a_text_of_its_own() -> None:
    tokenizer = llama_tokenizer()
    layout = FAMILIES["trl"].layout(Codec(tokenizer), LayoutOptions(), {})
    ids = layout.prompt(PROBLEM) + layout.committed("2+2=4.", True) + layout.candidate("So it is 4.", False)
    parts = (PROBLEM, "2+2=4.", "\n", "So it is 4.", "\n")
    assert list(ids) == [1, *(i for part in parts for i in tokenizer.encode(part, add_special_tokens=False))]


def test_a_byte_level_text_begins_with_no_space_of_its_own() -> None:
    assert start_of_text(Codec(family_tokenizer(None))) == ""
    assert start_of_text(Codec(llama_tokenizer())) == " "


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_step_reaches_every_family_as_one_paragraph(family: str) -> None:
    """Steps of another rule than paragraphs hold blank lines, which in these formats separate steps."""
    layout = FAMILIES[family].layout(Codec(family_tokenizer(TEMPLATES.get(family))), LayoutOptions(), {})
    for step, wanted in (("2+2\n\n=4.\n\n", "2+2\n=4."), ("1\n \n\n  2", "1\n  2")):
        for first in (True, False):
            assert layout.candidate(step, first) == layout.candidate(wanted, first) != ()
            assert layout.committed(step, first) == layout.committed(wanted, first)


def test_a_layout_of_the_users_own() -> None:
    """The example of docs/rewards.md."""
    codec = Codec(family_tokenizer(None))
    layout = StepLayout(
        codec,
        bos(codec),
        marker(codec, "<extra_0>"),
        around=("Q: ", "\nA:"),
        first=" ",
        later="\n",
        ends=("<extra_0>",),
    )
    ids = layout.prompt("2+2?") + layout.committed("4.<extra_0>", True) + layout.candidate("So 4\n", False)
    assert codec.decode(ids) == "<bos>Q: 2+2?\nA: 4.<extra_0>\nSo 4<extra_0>"
    assert layout.shape != StepLayout(codec, layout.before, layout.mark).shape


def test_what_a_tokenizer_or_template_lacks_is_named() -> None:
    codec = Codec(llama_tokenizer(), "m")
    for family, message in (
        ("qwen", "no token '<extra_0>'"),
        ("orm", "its tokenizer has none in use"),
        ("rlhflow", "its tokenizer has none in use"),
    ):
        with pytest.raises(ConfigError, match=message):
            FAMILIES[family].layout(codec, LayoutOptions(), {})
    twice = family_tokenizer("{{ messages[0]['content'] }}")
    with pytest.raises(ConfigError, match="does not write every turn exactly once"):
        FAMILIES["orm"].layout(Codec(twice), LayoutOptions(), {})
