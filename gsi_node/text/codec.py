"""Text and token ids of one tokenizer: plain text never becomes control tokens, and nothing is silently dropped.

Control tokens are the tokenizer's special tokens, and further added tokens that look like markup ("<tool_call>").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from gsi_node.errors import ConfigError
from gsi_node.types import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKUP = re.compile(r"<\S.*>|\[\S.*\]", re.DOTALL)


class Codec:
    """A private copy of a tokenizer's backend, set once to read special tokens as text, so threads may share it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str = "the tokenizer") -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ConfigError(
                f"{name} has a {type(tokenizer).__name__}, which is not a fast tokenizer; "
                "save it with a tokenizer.json (tokenizers library) first"
            )
        self.name = name
        self.tokenizer = tokenizer
        self._plain = _copy(backend, specials_as_text=True)
        self._marked = _copy(backend, specials_as_text=False)
        added = backend.get_added_tokens_decoder()
        self.added_ids = frozenset(added)
        self.control_ids = frozenset(i for i, t in added.items() if t.special or _MARKUP.fullmatch(t.content))
        texts = sorted((added[i].content for i in self.control_ids if len(added[i].content) > 1), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts))) if texts else None
        unk = getattr(tokenizer, "unk_token_id", None)
        self._unk: int | None = None if unk is None else int(unk)
        newline, after, alone = (self._plain.encode(text, add_special_tokens=False).ids for text in ("\n", "\na", "a"))
        shifted = after[: len(newline)] == newline and after[len(newline) :] != alone
        self._anchor: list[int] = newline if shifted else []  # SentencePiece puts a space before the start of a text
        self.bos_ids: Ids = self._start_ids()

    def encode(self, text: str) -> Ids:
        """Token ids of plain text in the middle of a sequence; ConfigError for characters without a token."""
        self._refuse_unknown(text)
        ids = [token for piece in self._pieces(text) for token in self._in_the_middle(self._plain, piece)]
        forbidden = self.control_ids.intersection(ids)
        if forbidden:
            names = [self._plain.id_to_token(i) for i in sorted(forbidden)]
            raise ConfigError(f"{self.name} can write {names} only as control tokens; take them out of the text")
        return tuple(ids)

    def encode_marked(self, text: str) -> Ids:
        """Token ids of trusted text (a template, a separator), in which control tokens mean what they say."""
        return tuple(self._in_the_middle(self._marked, text))

    def decode(self, ids: Sequence[int], drop: frozenset[int] = frozenset()) -> str:
        """The text of `ids` in the middle of a sequence (no leading space lost), without the ids in `drop`."""
        kept = [i for i in ids if i not in drop]
        if not self._anchor:
            return self._plain.decode(kept, skip_special_tokens=False)
        head = self._plain.decode(self._anchor, skip_special_tokens=False)
        return self._plain.decode([*self._anchor, *kept], skip_special_tokens=False)[len(head) :]

    @property
    def decoder(self) -> str:
        """What turns tokens into text, as a tokenizer's file has it: JSON; "" for none."""
        decoder = self._plain.decoder
        return "" if decoder is None else decoder.__getstate__().decode()

    @cached_property
    def texts(self) -> dict[int, str]:
        """Token id → what it writes in the middle of a text."""
        known = list(self.tokens)
        head = self._plain.decode(self._anchor, skip_special_tokens=False) if self._anchor else ""
        rows = self._plain.decode_batch([[*self._anchor, i] for i in known], skip_special_tokens=False)
        return {i: text[len(head) :] for i, text in zip(known, rows, strict=True)}

    def fingerprint(self, rows: int) -> str:
        """A digest of the id → token map over the ids a model with `rows` output rows can emit as tokens."""
        digest = blake2b(digest_size=16)
        for token_id, token in sorted(self.tokens.items()):
            if token_id < rows:
                digest.update(f"{token_id}\t{token!r}\n".encode())
        return digest.hexdigest()

    @cached_property
    def content(self) -> str:
        """A digest of all that determines how texts become ids and ids texts: the whole tokenizer."""
        whole = repr((self._plain.to_str(), self._unk, self.bos_ids, sorted(self.control_ids)))
        return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @cached_property
    def tokens(self) -> dict[int, str]:
        """Token id → token, added tokens included."""
        return {i: token for token, i in self._plain.get_vocab(with_added_tokens=True).items()}

    def _in_the_middle(self, backend: Tokenizer, text: str) -> list[int]:
        if self._anchor:
            ids = backend.encode("\n" + text, add_special_tokens=False).ids
            if ids[: len(self._anchor)] == self._anchor:
                return list(ids[len(self._anchor) :])
        return list(backend.encode(text, add_special_tokens=False).ids)

    def _refuse_unknown(self, text: str) -> None:
        encoding = self._plain.encode(text, add_special_tokens=False)
        seen, unknown = bytearray(len(text)), bytearray(len(text))
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            (unknown if token == self._unk else seen)[start:end] = b"\x01" * (end - start)
        missing = {c for i, c in enumerate(text) if unknown[i] or not (seen[i] or c.isspace())}
        if missing:
            shown = " ".join(repr(character) for character in sorted(missing)[:10])
            raise ConfigError(
                f"{self.name} cannot represent {shown} (its tokenizer has no token for it); "
                "rewrite the text without it or use a model with a larger vocabulary"
            )

    def _pieces(self, text: str) -> list[str]:
        """The text cut inside every control token's name, so that none is ever read as one."""
        pieces = []
        while self._control is not None and (found := self._control.search(text)):
            pieces.append(text[: found.start() + 1])
            text = text[found.start() + 1 :]
        return [piece for piece in (*pieces, text) if piece]

    def _start_ids(self) -> Ids:
        """What the tokenizer puts before a text by itself (BOS), if anything."""
        with_specials = self._marked.encode("a", add_special_tokens=True).ids
        start = [i for i in with_specials[:1] if i in self.control_ids and i != self._unk]
        return tuple(start)


def _copy(backend: Tokenizer, *, specials_as_text: bool) -> Tokenizer:
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    copy.encode_special_tokens = specials_as_text
    return copy
