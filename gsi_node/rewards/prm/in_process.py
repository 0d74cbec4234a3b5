"""A process reward model of the transformers library as a Reward: r(x, y) = P(good) read at the end of step y.

All candidates of a prefix go through in one batch behind its cached keys and values, so a step costs little more than
a forward over the new tokens. families.py tells how each family is written and read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import isnan, nan
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from gsi_node.engine.engine import Engine
from gsi_node.engine.loading import model_digest
from gsi_node.engine.packing import pack as pack_layers
from gsi_node.errors import BackendUnavailable
from gsi_node.identity import fingerprint_of
from gsi_node.rewards.prm import heads
from gsi_node.rewards.prm.families import Family, checked_wish, find_family, recognise
from gsi_node.rewards.prm.layout import NONE, LayoutOptions
from gsi_node.rewards.prm.rendered import RenderedReward
from gsi_node.text.codec import Codec
from gsi_node.text.folders import find_source
from gsi_node.types import Ids


class TransformersPRM(RenderedReward):
    """P(good) of each candidate step, the candidates of all callers in common batches."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        family: str | None = None,
        wish: LayoutOptions = NONE,
        cache_bytes: int = 1 << 30,
        batch_bytes: int = 2 << 30,
    ) -> None:
        """family: None finds it from the model's config or name. cache_bytes bounds the prefix
        cache, batch_bytes what one batch needs."""
        name = str(name or model.config.name_or_path or type(model).__name__)
        config = model.config.to_dict()
        config["architectures"] = config.get("architectures") or [type(model).__name__]
        self.family = find_family(family) if family else recognise(config, name)
        self._codec = Codec(tokenizer, name)
        layout = self.family.layout(self._codec, checked_wish(self.family, wish), config)
        adapted = heads.adapted(model, self.family, self._codec)
        self.engine = Engine(adapted, cache_bytes=cache_bytes, batch_bytes=batch_bytes, graphs=False)
        self.findings: tuple[str, ...] = ()
        super().__init__(name, layout, self.engine.context_length, traces=self.family.traces)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        family: str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        compile: bool = False,
        quantization: str | None = None,
        pack: bool = True,
        wish: LayoutOptions = NONE,
        cache_bytes: int = 1 << 30,
        batch_bytes: int = 2 << 30,
    ) -> Self:
        """Load from a local folder (never touching the network) or a hub name; safetensors only, no remote code.

        pack: linear layers on the CPU laid out once (engine/packing.py), where they are not compiled.
        """
        found = find_family(family) if family else family_of(name_or_path)
        model, tokenizer = heads.load(
            name_or_path, found, device=device, dtype=dtype, compile=compile, quantization=quantization
        )
        made = cls(
            model,
            tokenizer,
            name=str(name_or_path),
            family=found.name,
            wish=wish,
            cache_bytes=cache_bytes,
            batch_bytes=batch_bytes,
        )
        if pack and not compile:
            made.pack()
        return made

    def pack(self) -> None:
        """Pack the model's linear layers, in place: for a model that nobody else holds."""
        _ = self._digest  # of the weights, while they can be read
        self.findings = pack_layers(self.engine.model)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of config, dtype, family, layout, token map and weights; of the whole tokenizer; of the read-out."""
        parts = {"tokenizer": self._codec.content, "reading": self.family.reading}
        return fingerprint_of(self._digest, parts | {"conversation": self.layout.conversation})

    @cached_property
    def _digest(self) -> str:
        settings = (self.family.name, self.layout.shape, self._codec.fingerprint(1 << 31))
        return model_digest(self.engine.model, settings)

    def values(self, ids: Ids, rows: Sequence[Ids]) -> list[float]:
        fed = [(ids[-1], *row) for row in rows]
        found = [nan] * len(rows)

        def read(logits: Tensor, which: range) -> None:
            ends = torch.tensor([len(fed[i]) - 1 for i in which], device=logits.device)
            outputs = logits[torch.arange(len(which), device=logits.device), ends].double().tolist()
            found[which.start : which.stop] = [self.family.good(values) for values in outputs]

        spare = 1 if self.layout.joined is None else 1 + len(self.layout.mark)
        self.engine.continuations(ids, fed, read, spare=spare)
        if any(map(isnan, found)):
            self.engine.cache.clear()  # the keys and values that it came from are not kept
        return found

    def close(self) -> None:
        """Free the prefix cache. The weights go with the object."""
        self.engine.cache.clear()

    def _suspicion(self) -> str:
        return f"its dtype is {self.engine.model.dtype}: try dtype=float32, or check its weights"


def family_of(name_or_path: str | Path) -> Family:
    """The family of a checkpoint, from its config.json or name; ConfigError if neither tells."""
    source, local = find_source(name_or_path)
    try:
        config, _ = PreTrainedConfig.get_config_dict(source, local_files_only=local)
    except (OSError, ValueError) as error:
        raise BackendUnavailable(f"the config of reward model {source!r} cannot be read: {error}") from error
    return recognise(config, source)
