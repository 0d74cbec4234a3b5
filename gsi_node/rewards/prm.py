"""A process reward model of the transformers library as a Reward: r(x, y) = P(good) read at the separator after step y.

TRL's token-classification form (trl PRMTrainer): prompt, then each step's text followed by one separator; a model with
two labels says P(label 1) at every separator. Each step is encoded by itself and its ids are appended, so earlier ids
never change and the prefix cache holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from gsi_node.engine.codec import Codec
from gsi_node.engine.forward import Engine
from gsi_node.engine.loading import load_pretrained, model_digest
from gsi_node.engine.prompt import prompt_format
from gsi_node.errors import ConfigError, RewardOutOfRange
from gsi_node.rewards.base import AsyncTwin
from gsi_node.types import Prefix, Step

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """How one family of PRMs is loaded, written and read.

    auto: the transformers Auto class. labels: width of its output. separator: after every step, unless the config's
    `step_separator` says otherwise. ending: after the problem where there is no chat template. read: outputs at the
    separators, shape (B, labels), to P(good), shape (B,).
    """

    name: str
    auto: type[Any]
    labels: int
    separator: str
    ending: str
    read: Callable[[Tensor], Tensor]


def _second_label(logits: Tensor) -> Tensor:
    return torch.softmax(logits, dim=-1)[:, 1]


FAMILIES = {
    family.name: family for family in (Family("trl", AutoModelForTokenClassification, 2, "\n", "\n", _second_label),)
}


class TransformersPRM(AsyncTwin):
    """P(good) of each candidate step, all candidates of a prefix in one batch. Threads take turns.

    An empty candidate is never scored: one that only ends the response keeps the reward of the last step before it
    (the range's lower end if there is none), and one that does not end it either gets the range's lower end.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        family: str = "trl",
        separator: str | None = None,
        system_prompt: str | None = None,
        use_chat_template: bool = True,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.name = name or model.config.name_or_path or type(model).__name__
        self._family = find_family(family)
        if model.config.num_labels != self._family.labels:
            raise ConfigError(
                f"reward model {self.name} has {model.config.num_labels} labels, but family {family!r} reads "
                f"{self._family.labels}; is it a process reward model of this family?"
            )
        self._codec = Codec(tokenizer, self.name)
        self.separator = separator or getattr(model.config, "step_separator", None) or self._family.separator
        self._separator_ids = self._codec.encode_marked(self.separator)
        if not self._separator_ids:
            raise ConfigError(f"the tokenizer of reward model {self.name} has no ids for separator {self.separator!r}")
        self._prompt = prompt_format(
            self._codec,
            system_prompt=system_prompt,
            use_chat_template=use_chat_template,
            ending=self._family.ending,
        )
        self._prompt_ids = lru_cache(256)(self._prompt.ids)
        self._step_ids = lru_cache(4096)(self._encode_step)
        self._end_texts = tuple(text for text in (tokenizer.eos_token, self.separator.strip()) if text)
        self.engine = Engine(model, cache_bytes=cache_bytes)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        family: str = "trl",
        device: str = "cpu",
        dtype: str = "float32",
        separator: str | None = None,
        system_prompt: str | None = None,
        use_chat_template: bool = True,
        cache_bytes: int = 1 << 30,
    ) -> Self:
        """Load from a local folder (never touching the network) or a hub name; safetensors only, no remote code."""
        auto = find_family(family).auto
        model, tokenizer = load_pretrained(auto, name_or_path, device=device, dtype=dtype)
        return cls(
            model,
            tokenizer,
            name=str(name_or_path),
            family=family,
            separator=separator,
            system_prompt=system_prompt,
            use_chat_template=use_chat_template,
            cache_bytes=cache_bytes,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of config, dtype, family, separator, prompt settings and weights."""
        settings = (self._family.name, self.separator, self._prompt.shape, self._codec.fingerprint(1 << 31))
        return model_digest(self.engine.model, settings)

    def prefix_ids(self, prefix: Prefix) -> Ids:
        """x as this model's token ids: the prompt, then each non-empty step with one separator."""
        steps = (self._step_ids(step.text) for step in prefix.steps)
        return tuple(chain(self._prompt_ids(prefix.problem), *steps))

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        """P(good) of each candidate after `prefix`, in [0, 1]."""
        ids = self.prefix_ids(prefix)
        candidates = [self._step_ids(step.text) for step in steps]
        rows = [(ids[-1], *candidate) for candidate in candidates]
        begun = any(self._step_ids(step.text) for step in prefix.steps)
        scored = [i for i, step in enumerate(steps) if candidates[i] or (step.finished and begun)]
        limit = self.engine.context_length
        longest = len(ids) + max(map(len, candidates), default=0)
        if limit is not None and longest > limit:
            raise ConfigError(f"reward model {self.name} reads {limit} tokens at most; prefix and step have {longest}")
        rewards = [self.range[0]] * len(steps)
        if not scored:
            return rewards
        unique = list(dict.fromkeys(rows[i] for i in scored))
        values: list[float] = []

        def read(logits: Tensor, which: range) -> None:
            ends = torch.tensor([len(unique[i]) - 1 for i in which], device=logits.device)
            at_ends = logits[torch.arange(len(which), device=logits.device), ends]
            wide = at_ends if at_ends.dtype == torch.float64 else at_ends.float()
            values.extend(self._family.read(wide).tolist())

        with self.engine.session():
            self.engine.continuations(ids, unique, read, spare=1)
        known = dict(zip(unique, values, strict=True))
        for i in scored:
            value = known[rows[i]]
            if not isfinite(value):
                raise RewardOutOfRange(
                    f"reward model {self.name} gave {value} for candidate {i} ({steps[i].text[:60]!r}); "
                    f"its dtype is {self.engine.model.dtype}: try dtype=float32, or check its weights"
                )
            rewards[i] = value
        return rewards

    def close(self) -> None:
        """Free the prefix cache. The weights go with the object."""
        self.engine.cache.clear()

    def _encode_step(self, text: str) -> Ids:
        """The step's text without trailing newlines and end tokens, then one separator; () for an empty step."""
        bare = text.rstrip("\n")
        while bare.endswith(self._end_texts) and self._end_texts:
            bare = next(bare.removesuffix(end) for end in self._end_texts if bare.endswith(end)).rstrip("\n")
        return (*self._codec.encode(bare), *self._separator_ids) if bare.strip() else ()


def find_family(name: str) -> Family:
    """The family of that name; ConfigError listing the known ones."""
    if name not in FAMILIES:
        raise ConfigError(f"PRM family {name!r} is unknown; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]
