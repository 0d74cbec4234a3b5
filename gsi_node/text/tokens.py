"""The token side of a model that runs elsewhere: prompt ids, step ends and vocabulary, from its tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain

from transformers import PreTrainedTokenizerBase

from gsi_node.engine.loading import load_tokenizer
from gsi_node.errors import BackendUnavailable, VocabularyMismatch
from gsi_node.host.paths import expanded
from gsi_node.text.codec import STEP_END, Codec
from gsi_node.text.prompt import prompt_format
from gsi_node.text.reading import reading
from gsi_node.types import Ids, Prefix, Step


class Tokens:
    """What TransformersModel knows of tokens, without the model. name: for messages.

    system_prompt, use_chat_template, template, messages: as in prompt_format.
    """

    def __init__(
        self,
        folder: str,
        name: str,
        *,
        system_prompt: str | None = None,
        use_chat_template: bool = True,
        template: str | None = None,
        messages: Sequence[Mapping[str, str]] = (),
    ) -> None:
        tokenizer = _tokenizer(folder, name)
        self.codec = Codec(tokenizer, name)
        self.size = max(self.codec.tokens) + 1
        self.eos_ids = _eos_ids(tokenizer, self.codec, folder, self.size)
        self.stop_ids = tuple(sorted({*self.codec.ids_containing(STEP_END, self.size), *self.eos_ids}))
        self.format = prompt_format(
            self.codec,
            system_prompt=system_prompt,
            use_chat_template=use_chat_template,
            template=template,
            messages=messages,
            ending=STEP_END,
        )
        self._prompt_ids = lru_cache(256)(self.format.ids)

    @cached_property
    def vocabulary(self) -> str:
        """The fingerprint TransformersModel gives the same tokenizer."""
        return self.codec.fingerprint(self.size)

    def prefix_ids(self, prefix: Prefix) -> Ids:
        """x as token ids: the rendered prompt, then the steps' own ids."""
        for step in prefix.steps:
            self.check(step.token_ids)
        return tuple(chain(self._prompt_ids(prefix.problem), *(step.token_ids for step in prefix.steps)))

    def step(self, ids: Ids, log_prob: float, error: float) -> Step:
        """The step of these ids. Raises VocabularyMismatch for ids without a token."""
        self.check(ids)
        text = self.codec.decode(ids, drop=frozenset(self.eos_ids))
        return Step(text, ids, log_prob, ids[-1] in self.eos_ids, error)

    def check(self, ids: Ids) -> None:
        """VocabularyMismatch for ids that the tokenizer does not know."""
        if ids and not 0 <= min(ids) <= max(ids) < self.size:
            raise VocabularyMismatch(
                f"{self.codec.name}: a step has token id {max(ids)}, but its tokenizer knows ids below {self.size}; "
                "draft and base must share one tokenizer, and ?tokenizer=… must name the served model's"
            )


def _tokenizer(folder: str, name: str) -> PreTrainedTokenizerBase:
    path = expanded(folder)
    try:
        return load_tokenizer(str(path) if path.is_dir() else folder, path.is_dir())
    except (OSError, ValueError, ImportError, KeyError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BackendUnavailable(
            f"{name}: no tokenizer can be loaded from {folder!r} ({line}); give ?tokenizer=FOLDER with the served "
            "model's tokenizer files"
        ) from error


def _eos_ids(tokenizer: PreTrainedTokenizerBase, codec: Codec, folder: str, size: int) -> Ids:
    """The tokenizer's EOS and those of generation_config.json beside it, if they are added tokens."""
    found: set[int | None] = {tokenizer.eos_token_id}
    path = expanded(folder) / "generation_config.json"
    if path.is_file():
        with reading(str(path)):
            configured = json.loads(path.read_text("utf-8")).get("eos_token_id")
            found.update(configured if isinstance(configured, list) else [configured])
    known = codec.added_ids | {tokenizer.eos_token_id}
    return tuple(sorted(int(i) for i in found if i is not None and i in known and i < size))
