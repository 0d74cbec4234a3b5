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

    Byte-level tokens write one byte a character, and what is not in that alphabet (an added token) as it stands;
    SentencePiece's bytes are named <0x0A>; all others write their own text. Invalid UTF-8 reads as U+FFFD, one for each
    maximal part, as byte-level decoders have it; SentencePiece's write one for every byte about it.
    Raises ConfigError for a decoder that writes a row otherwise than its tokens one after another.
    """
    byte_level, named = ('"ByteLevel"' in codec.decoder), ('"ByteFallback"' in codec.decoder)
    texts = {} if byte_level else codec.texts
    bytes_of = [b""] * (max(codec.tokens) + 1)
    for i, token in codec.tokens.items():
        if byte_level:
            bytes_of[i] = _byte_level(token)
        elif named and (found := _BYTE.fullmatch(token)):
            bytes_of[i] = bytes((int(found[1], 16),))
        else:
            bytes_of[i] = texts[i].encode()
    _check(codec, bytes_of, "replace" if byte_level else "strict")
    return bytes_of


def _byte_level(token: str) -> bytes:
    try:
        return token.translate(_BYTE_OF).encode("latin-1")
    except UnicodeEncodeError:
        return token.encode()


def _check(codec: Codec, bytes_of: list[bytes], invalid: str) -> None:
    """On random rows; where `invalid` is "strict", on those whose bytes are whole characters."""
    dice, known = random.Random(0), sorted(codec.tokens)
    for _ in range(_ROWS):
        row = dice.choices(known, k=_TOKENS)
        try:
            wanted = b"".join(bytes_of[i] for i in row).decode(errors=invalid)
        except UnicodeDecodeError:
            continue
        if (found := codec.decode(row)) != wanted:
            raise ConfigError(
                f"{codec.name}: its decoder writes tokens otherwise together ({found!r:.60}) than one after another "
                f"({wanted!r:.60}), so that no step end can be seen in them; use a model with a byte-level or "
                "SentencePiece tokenizer"
            )


def _alphabet() -> dict[int, int]:
    """The byte of each character that byte-level BPE writes: of itself where it is seen, else of one from U+0100 on.

    The characters that stand for no byte go to one beyond all bytes.
    """
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return dict.fromkeys(hidden, 0xFFFD) | {0x100 + place: byte for place, byte in enumerate(hidden)}


_BYTE_OF = _alphabet()
