"""The bytes of tokens against the tokenizer's own decoder, for each kind of tokenizer; those it cannot be done for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from gsi_node import pocket
from gsi_node.errors import ConfigError
from gsi_node.pocket.training.tokenizer import load
from gsi_node.text.tokens import Tokens
from gsi_node.types import Prefix, Step
from tests.text.test_codec import sentencepiece_like

EOS, THINK = "<|eos|>", "<think>"


def built(words: list[str], decoder: decoders.Decoder | None) -> PreTrainedTokenizerFast:
    """Of these tokens, EOS, a control token, and added tokens that are ordinary text."""
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(EOS, special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (THINK, "\n\n\n", "two words", "été", "Ġ€")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, clean_up_tokenization_spaces=False)


def byte_level() -> PreTrainedTokenizerFast:
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(byte) for byte in seen] + [chr(0x100 + i) for i in range(256 - len(seen))]
    return built([*letters, "ĊĊ", ".Ċ", "Ġthe", "Ã©", "âĤ"], decoders.ByteLevel())


def sentencepiece() -> PreTrainedTokenizerFast:
    named = [f"<0x{byte:02X}>" for byte in range(256)]
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return built([*named, "▁", "▁the", "a", ".", "é", "日本"], decoders.Sequence(parts))


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": byte_level,
    "SentencePiece": sentencepiece,
    "Metaspace": sentencepiece_like,
    "pocket": lambda: load(pocket.path("draft")),
}


@cache
def tokens_of(kind: str) -> Tokens:
    tokenizer = KINDS[kind]()
    return Tokens(tokenizer, kind, rows=len(tokenizer) + 7)


def pending(tokens: Tokens, ids: list[int]) -> int | None:
    """Bytes at the end of a row that begin a character; None where a byte within it belongs to no character."""
    written = b"".join(tokens.bytes_of[i] for i in ids)
    try:
        written.decode()
    except UnicodeDecodeError as error:
        return len(written) - error.start if error.reason == "unexpected end of data" else None
    return 0


def split(tokens: Tokens, ids: list[int], cuts: set[int]) -> list[Step]:
    """The steps that a row makes which is cut behind these many tokens."""
    prefix, bounds = Prefix("1"), sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    for first, last in pairwise(bounds):
        prefix = prefix.extended(tokens.step(prefix, tuple(ids[first:last]), 0.0))
    return list(prefix.steps)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_the_texts_of_steps_are_the_decoders_of_the_whole_response(kind: str, data: st.DataObject) -> None:
    """However a row is split into steps; an incomplete character waits for the next one, and for EOS is U+FFFD."""
    tokens = tokens_of(kind)
    known = [i for i in sorted(tokens.codec.tokens) if i not in tokens.eos_ids]
    ids = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=12))
    cuts = data.draw(st.sets(st.integers(1, 11)))
    found = "".join(step.text for step in split(tokens, ids, cuts))
    closed = "".join(step.text for step in split(tokens, [*ids, tokens.eos_ids[0]], cuts))
    text = tokens.codec.decode(ids)
    if kind == "byte-level":
        assert closed == text
        assert text.startswith(found)
        assert text[len(found) :] in ("", "\ufffd")
    elif (left := pending(tokens, ids)) is not None:  # a token each
        assert found == tokens.codec.decode(ids[: len(ids) - left])
        assert closed == found + ("\ufffd" if left else "")


@pytest.mark.parametrize("kind", ["byte-level", "SentencePiece"])
def test_a_character_in_pieces(kind: str) -> None:
    tokens = tokens_of(kind)
    byte = {text: i for i, text in enumerate(tokens.bytes_of[:256])}
    euro = [byte[bytes((each,))] for each in "€".encode()]
    assert [step.text for step in split(tokens, [*euro, *euro], {1, 4, 5})] == ["", "€", "", "€"]
    steps = split(tokens, [*euro, *euro[:2], tokens.eos_ids[0]], {3})
    assert [(step.text, step.finished) for step in steps] == [("€", False), ("\ufffd", True)]


@pytest.mark.parametrize("kind", ["byte-level", "SentencePiece"])
def test_added_tokens_write_their_text_and_padded_rows_nothing(kind: str) -> None:
    tokens = tokens_of(kind)
    ids = {token: i for i, token in tokens.codec.tokens.items()}
    assert tokens.size == len(tokens.bytes_of) == max(ids.values()) + 1
    assert [tokens.bytes_of[ids[text]].decode() for text in ("\n\n\n", "two words", THINK)] == [
        *("\n\n\n", "two words", THINK)
    ]
    assert tokens.bytes_of[ids[EOS]] == b""
    newline = ids["Ċ"] if kind == "byte-level" else ids["<0x0A>"]
    assert tokens.bytes_of[newline] == b"\n"


@pytest.mark.parametrize(
    "decoder",
    [decoders.WordPiece(), decoders.BPEDecoder(), decoders.CTC(), None],
    ids=["WordPiece", "BPE with a suffix", "CTC", "none"],
)
def test_a_decoder_that_does_not_compose_is_refused(decoder: decoders.Decoder | None) -> None:
    words = ["the", "##er", "sum</w>", "a", "b</w>", "is", "##s", "x"]
    with pytest.raises(ConfigError, match="mini: its decoder writes tokens otherwise together"):
        Tokens(built(words, decoder), "mini")
