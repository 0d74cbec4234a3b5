"""The bytes that each token of a tokenizer writes, so that those of a row are its tokens' ones after each other."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from gsi_node.errors import ConfigError

if TYPE_CHECKING:
    from gsi_node.text.codec import Codec

_ROWS, _TOKENS = 64, 8  # of the check that the decoder composes
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def spelled(codec: Codec) -> list[bytes]:
    """Bytes by token id, b"" for an id without a token; a control token's are its name.

    Byte-level tokens hold one character a byte, SentencePiece's bytes are named <0x0A>, all others write their text.
    Raises ConfigError for a decoder that writes a row otherwise than its tokens one after another.
    """
    decoder = codec.decoder
    own = _BYTE_OF if '"ByteLevel"' in decoder else {}
    named = '"ByteFallback"' in decoder
    tokens, texts = codec.tokens, codec.texts
    bytes_of = [b""] * (max(tokens) + 1)
    for i, token in tokens.items():
        found = _BYTE.fullmatch(token) if named else None
        if i in codec.added_ids:
            bytes_of[i] = token.encode("utf-8", "replace")
        elif own and all(character in own for character in token):
            bytes_of[i] = bytes(own[character] for character in token)
        else:
            bytes_of[i] = bytes((int(found[1], 16),)) if found else texts[i].encode("utf-8", "replace")
    _check(codec, bytes_of)
    return bytes_of


def _check(codec: Codec, bytes_of: list[bytes]) -> None:
    """On random rows whose bytes are whole characters."""
    dice, known = random.Random(0), sorted(set(codec.tokens) - codec.control_ids)
    for _ in range(_ROWS):
        row = dice.choices(known, k=_TOKENS)
        try:
            wanted = b"".join(bytes_of[i] for i in row).decode()
        except UnicodeDecodeError:
            continue
        if (found := codec.decode(row)) != wanted:
            raise ConfigError(
                f"{codec.name}: its decoder writes tokens otherwise together ({found!r:.60}) than one after another "
                f"({wanted!r:.60}), so that no step end can be seen in them; use a model with a byte-level or "
                "SentencePiece tokenizer"
            )


def _alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: itself where that is seen, else one from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}


_BYTE_OF = _alphabet()
