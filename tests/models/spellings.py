"""Tokenizers that write "\\n\\n" as two tokens: byte-level as GPT-2's, and SentencePiece with its byte tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gsi_node.text.tokens import Tokens
from tests.miniature import SPECIAL
from tests.models.serving import Bigram


def byte_level() -> Tokenizer:
    """Its pattern parts "a\\n\\nb" between the line breaks, though it has a token of two."""
    words = ["ĊĊ", ".Ċ", "</", "</s", "te", "tep", "Ã©"]
    alphabet = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *words]
    merges = [("Ċ", "Ċ"), (".", "Ċ"), ("<", "/"), ("</", "s"), ("t", "e"), ("te", "p"), ("Ã", "©")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_piece() -> Tokenizer:
    """Line breaks are <0x0A>, spaces are ▁."""
    letters = [chr(i) for i in range(33, 127)]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "</", "</s", "te", "tep", "é"]
    merges = [("<", "/"), ("</", "s"), ("t", "e"), ("te", "p")]
    tokenizer = Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


SPELLINGS = {"byte-level": byte_level, "sentence-piece": sentence_piece}


def folder_of(spelling: str, folder: Path) -> Path:
    """The tokenizer, written to a folder."""
    tokenizer = SPELLINGS[spelling]()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", clean_up_tokenization_spaces=False
    ).save_pretrained(folder)
    return folder


def bigram_of(tokens: Tokens) -> Bigram:
    """A model that often writes line breaks, two of them, headings and "</step>", in tokens or in bytes."""
    breaks, hashes, opened, stems, closed = (
        [i for i, text in enumerate(tokens.bytes_of) if text in texts]
        for texts in ((b"\n",), (b"#",), (b"</s", b"\n\n", b".\n"), (b"tep",), (b">",))
    )
    model = Bigram(tokens.size, [*breaks, *opened], spread=1.0)
    logits = model.log_p.copy()
    for before, after in ((breaks, breaks), (breaks, hashes), (breaks, hashes), (opened, stems), (stems, closed)):
        logits[np.ix_(before, after)] += 4.0
    logits[:, breaks] += 3.0
    model.log_p = Bigram.law(logits, 1.0)
    model.order = np.argsort(-model.log_p, axis=-1, kind="stable")
    return model
