"""Texts of a model that tells no token ids, counted: in the tokens of a tokenizer that is given, or in characters."""

from __future__ import annotations

from collections.abc import Sequence

from gsi_node.errors import ConfigError, VocabularyMismatch
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import Ids, Prefix

_POINTS = 0x110000  # Unicode has fewer code points


class CountedText:
    """The ids that stand for texts. They are no model's own: `vocabulary` is equal to none of a model that has ids.

    tokenizer: folder or hub name; None counts code points. name: of the model, for messages. eos_id: behind the text
    of a step that ends the response.
    """

    def __init__(self, name: str, tokenizer: str | None = None) -> None:
        self._name = name
        self._tokens = None
        self.unit, self.vocabulary, self.eos_id = "characters", "text in code points", _POINTS
        if tokenizer is not None:
            self._tokens = Tokens.of_folder(tokenizer, name, PromptSettings(template="{problem}"))
            if not self._tokens.eos_ids:
                raise ConfigError(f"{name}: the tokenizer {tokenizer!r} has no EOS; give another, or leave it out")
            self.unit, self.eos_id = "tokens of ?tokenizer", self._tokens.eos_ids[0]
            self.vocabulary = f"text in {self._tokens.vocabulary}"

    def encode(self, text: str) -> Ids:
        """The ids of a text. Raises ConfigError for characters that a tokenizer has no token for."""
        return tuple(map(ord, text)) if self._tokens is None else self._tokens.codec.encode(text)

    def step_ids(self, text: str, finished: bool) -> Ids:
        """Those of a step."""
        return self.encode(text) + ((self.eos_id,) if finished else ())

    def text_of(self, ids: Sequence[int]) -> tuple[str, bool]:
        """The text of a step's ids, and whether it ends the response. Raises VocabularyMismatch."""
        said = tuple(ids[:-1] if ids[-1] == self.eos_id else ids)
        if self._tokens is not None:
            text = self._tokens.step(Prefix(""), said, 0.0).text if said else ""
        elif all(0 <= i < _POINTS for i in said):
            text = "".join(map(chr, said))
        else:
            raise VocabularyMismatch(f"{self._name}: its ids are code points, got {max(said)}")
        return text, len(said) < len(ids)

    def most(self, text: str, count: int) -> str:
        """The text, or as much of it as `count` ids write in whole characters."""
        if self._tokens is None:
            return text[:count]
        ids = self.encode(text)
        return text if len(ids) <= count else self.text_of(ids[:count])[0]

    def reached(self, text: str, count: int) -> bool:
        """Whether a text is as long as a step may be, as far as that is known while it comes: tokens are counted where
        they are drawn."""
        return self._tokens is None and len(text) >= count
