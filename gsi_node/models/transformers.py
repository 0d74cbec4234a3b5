"""A causal language model of the transformers library as a StepModel: local folder or hub name, CPU or CUDA.

log π(y | x) = Σ_j log softmax(logits_j / T)[y_j], over the tokens of the step, its end token included. Token ids end to
end; only ids that the tokenizer knows take part in the softmax (padded embedding rows have probability zero).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from math import fsum, inf, isnan, nan
from pathlib import Path
from typing import Self

from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from gsi_node.bases import AsyncTwins
from gsi_node.ends import check_reached
from gsi_node.engine.engine import Engine
from gsi_node.engine.loading import load_pretrained, model_digest
from gsi_node.engine.packing import pack as pack_layers
from gsi_node.engine.requests import DrawnRow
from gsi_node.engine.sampling import Softmax, check_law, target_log_probs
from gsi_node.errors import ConfigError, InvalidLogProb
from gsi_node.hearing import Hear, current_hear
from gsi_node.identity import fingerprint_of
from gsi_node.text.prompt import USUAL, PromptSettings
from gsi_node.text.tokenizers import eos_ids
from gsi_node.text.tokens import Tokenized, Tokens
from gsi_node.types import Array, Ids, Key, Prefix, SamplingLaw, Score, Step


class TransformersModel(Tokenized, AsyncTwins):
    """π as GSI asks for it. Threads may share one object: their requests share forwards (engine/engine.py).

    cache_bytes bounds the prefix cache, batch_bytes what one batch needs, logits_bytes the logits of one scoring
    forward. graphs: on CUDA, a token of all candidates is one replayed graph (engine/graphs.py).
    """

    shares_positions = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        prompt: PromptSettings = USUAL,
        cache_bytes: int = 1 << 30,
        batch_bytes: int = 2 << 30,
        logits_bytes: int = 1 << 29,
        graphs: bool = True,
    ) -> None:
        self.name = name or model.config.name_or_path or type(model).__name__
        head = model.get_output_embeddings()
        rows = int(model.config.get_text_config().vocab_size if head is None else head.weight.shape[0])
        own, generation = model.config, getattr(model, "generation_config", None)
        _, configured = (eos_ids(getattr(config, "eos_token_id", None), self.name) for config in (own, generation))
        self.tokens = Tokens(tokenizer, self.name, prompt, rows=rows, model_eos=configured)
        self.engine = Engine(model, cache_bytes=cache_bytes, batch_bytes=batch_bytes, graphs=graphs)
        self._packing: tuple[str, ...] = ()
        self._positions = max(1, logits_bytes // (self.tokens.size * max(4, model.dtype.itemsize)))

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        compile: bool = False,
        quantization: str | None = None,
        gguf: str | None = None,
        pack: bool = True,
        prompt: PromptSettings = USUAL,
        cache_bytes: int = 1 << 30,
        batch_bytes: int = 2 << 30,
        logits_bytes: int = 1 << 29,
        graphs: bool = True,
    ) -> Self:
        """Load from a local folder (never touching the network) or a hub name; safetensors only, no remote code.

        gguf: a GGUF file in the folder, instead; found by itself where it is the only one and there are no safetensors.
        pack: linear layers on the CPU laid out once (engine/packing.py), where they are not compiled. The rest: as in
        the class itself.
        """
        model, tokenizer = load_pretrained(
            AutoModelForCausalLM,
            name_or_path,
            device=device,
            dtype=dtype,
            compile=compile,
            quantization=quantization,
            gguf=gguf,
        )
        made = cls(
            model,
            tokenizer,
            name=str(name_or_path),
            prompt=prompt,
            cache_bytes=cache_bytes,
            batch_bytes=batch_bytes,
            logits_bytes=logits_bytes,
            graphs=graphs,
        )
        if pack and not compile:
            made.pack()
        return made

    def pack(self) -> None:
        """Pack the model's linear layers, in place: for a model that nobody else holds."""
        _ = self._digest  # of the weights, while they can be read
        self._packing = pack_layers(self.engine.model)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the doctor prints of it."""
        return (*self.tokens.format.findings, *self._packing, *self.engine.findings)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of config, dtype, prompt settings and weights (`model_digest` says how weights are sampled), of the
        whole tokenizer, and of the rendered prompt, which a template may date. Devices differ by rounding alone."""
        parts = {"tokenizer": self.tokens.codec.content, "prompt": self.tokens.format.rendered}
        return fingerprint_of(self._digest, parts)

    @cached_property
    def _digest(self) -> str:
        return model_digest(self.engine.model, (self.vocabulary, self.eos_ids))

    def supports(self, law: SamplingLaw) -> None:
        """Any temperature above 0, any top_p in (0, 1], and ends that its tokens write; else LawMismatch."""
        check_law(law, self.tokens.size)
        check_reached(self, law)

    def prefix_ids(self, prefix: Prefix) -> Ids:
        """x as token ids: the rendered prompt, then the steps' own ids."""
        return self.tokens.prefix_ids(prefix)

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        """y_1..y_n ~ π(· | x): one uniform a token from Stream(key, i), inverse CDF. log_prob in nats under `law`.

        A candidate's numbers do not depend on who shares its batch, up to the rounding of the forward itself.
        """
        self.supports(law)
        if n < 1:
            raise ConfigError(f"n is {n}; ask for at least one candidate")
        ids = self.prefix_ids(prefix)
        limit = min(law.max_step_tokens, self._room(ids, 1))
        ends, hear = self.step_ends(law), current_hear()
        heard = None if hear is None else partial(self._told, hear, prefix)
        drawn = self.engine.draw(ids, n, key, law, limit=limit, ends=ends, size=self.tokens.size, hear=heard)
        return [self._step(prefix, tokens, values) for tokens, values in drawn]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        """log π(y_i | x) under `law`, in nats, in one forward pass; −inf where a step lies outside of the law.

        A step that goes on behind its end is not read.
        """
        self.supports(law)
        rows, ends = self.tokens.rows(steps), self.step_ends(law)
        unique = [row for row in dict.fromkeys(rows) if not ends.beyond(row)]  # small models repeat themselves
        if not unique:
            return [Score(-inf) for _ in rows]
        ids = self.prefix_ids(prefix)
        self._room(ids, max(map(len, unique)))
        sums = [nan] * len(unique)

        def read(logits: Tensor, which: range) -> None:
            found = target_log_probs(logits[..., : self.tokens.size], [unique[i] for i in which], law)
            sums[which.start : which.stop] = found

        fed = [(ids[-1], *row[:-1]) for row in unique]
        self.engine.continuations(ids, fed, read, most=self._positions)
        known = dict(zip(unique, sums, strict=True))
        for i, row in enumerate(rows):
            if isnan(known.get(row, -inf)):
                raise self._no_number(f"the log-probability of candidate {i}")
        return [Score(known.get(row, -inf)) for row in rows]

    def next_log_probs(
        self, prefix: Prefix, rows: Sequence[Ids], starts: Sequence[int], law: SamplingLaw
    ) -> list[Array]:
        """log π(· | x, row[:j]) under `law`, j = start … len(row): shape (len(row) − start + 1, ids), float64, nats."""
        self.supports(law)
        for row in rows:
            self.tokens.check(row)
        ids = self.prefix_ids(prefix)
        self._room(ids, max(map(len, rows)) + 1)
        found: dict[int, Array] = {}

        def read(logits: Tensor, which: range) -> None:
            for row, i in enumerate(which):
                wanted = logits[row, starts[i] : len(rows[i]) + 1, : self.tokens.size]
                found[i] = Softmax.of(wanted, law).log_probs().cpu().numpy()

        self.engine.continuations(ids, [(ids[-1], *row) for row in rows], read, most=self._positions)
        return [found[i] for i in range(len(rows))]

    def close(self) -> None:
        """Free the prefix cache. The weights go with the object."""
        self.engine.cache.clear()

    def _told(self, hear: Hear, prefix: Prefix, rows: Mapping[int, DrawnRow]) -> None:
        hear({i: partial(self._step, prefix, *row) for i, row in rows.items()})

    def _step(self, prefix: Prefix, tokens: list[int], values: list[float]) -> Step:
        log_prob = fsum(values)
        if isnan(log_prob):
            raise self._no_number("the log-probability of a sampled step")
        return self.step_of(prefix, tokens, log_prob)

    def _room(self, ids: Ids, needed: int) -> int:
        """Tokens left in the model's context after `ids`; ConfigError if fewer than `needed`."""
        if self.engine.context_length is None:
            return 1 << 30
        room = self.engine.context_length - len(ids)
        if room < needed:
            raise ConfigError(
                f"{self.name}: the prefix has {len(ids)} tokens and the step needs {needed}, but the context ends at "
                f"{self.engine.context_length}; lower max_steps or max_step_tokens, or use a longer context"
            )
        return room

    def _no_number(self, what: str) -> InvalidLogProb:
        """The error for a NaN. The keys and values it came from may be cached: nothing of them is kept."""
        self.engine.cache.clear()
        dtype = self.engine.model.dtype
        hint = "try float32" if dtype.itemsize < 4 else "check the weights"
        return InvalidLogProb(f"{self.name}: {what} is NaN (dtype is {dtype}: {hint})")
