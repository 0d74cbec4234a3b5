"""A causal language model of the transformers library as a StepModel: local folder or hub name, CPU or CUDA.

log π(y | x) = Σ_j log softmax(logits_j / T)[y_j], over the tokens of the step, its end token included. Token ids end to
end; only ids that the tokenizer knows take part in the softmax (padded embedding rows have probability zero).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from math import fsum, isnan, nan
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from gsi_node.engine.forward import Engine
from gsi_node.engine.loading import load_pretrained, model_digest
from gsi_node.engine.sampling import check_law, log_probs, target_log_probs
from gsi_node.errors import ConfigError, InvalidLogProb, VocabularyMismatch
from gsi_node.identity import fingerprint_of
from gsi_node.protocols import AsyncTwins
from gsi_node.text.codec import STEP_END, Codec
from gsi_node.text.prompt import prompt_format
from gsi_node.types import Array, Ids, Key, Prefix, SamplingLaw, Score, Step


class TransformersModel(AsyncTwins):
    """π as GSI asks for it. Threads may share one object: their requests share forwards (engine/forward.py).

    cache_bytes bounds the prefix cache, batch_bytes what one batch needs, logits_bytes the logits of one scoring
    forward. system_prompt: None sends no system message (a template may then insert its own), "" an empty one.
    template, messages: as in prompt_format.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        system_prompt: str | None = None,
        use_chat_template: bool = True,
        template: str | None = None,
        messages: Sequence[Mapping[str, str]] = (),
        cache_bytes: int = 1 << 30,
        batch_bytes: int = 2 << 30,
        logits_bytes: int = 1 << 29,
    ) -> None:
        self.name = name or model.config.name_or_path or type(model).__name__
        self._codec = Codec(tokenizer, self.name)
        self._prompt = prompt_format(
            self._codec,
            system_prompt=system_prompt,
            use_chat_template=use_chat_template,
            template=template,
            messages=messages,
            ending=STEP_END,
        )
        self._prompt_ids = lru_cache(256)(self._prompt.ids)
        self.engine = Engine(model, cache_bytes=cache_bytes, batch_bytes=batch_bytes)
        head = model.get_output_embeddings()
        rows = int(model.config.get_text_config().vocab_size if head is None else head.weight.shape[0])
        self._size = min(rows, max(self._codec.tokens) + 1)
        self._positions = max(1, logits_bytes // (self._size * max(4, model.dtype.itemsize)))  # of one scoring forward
        self.eos_ids = _eos_ids(model, tokenizer, self._codec, self._size)
        self._eos = frozenset(self.eos_ids)
        self._stop_ids = tuple(sorted({*self._codec.ids_containing(STEP_END, self._size), *self.eos_ids}))

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
        **options: Any,
    ) -> Self:
        """Load from a local folder (never touching the network) or a hub name; safetensors only, no remote code.

        gguf: a GGUF file in the folder, instead; found by itself where it is the only one and there are no safetensors.
        options: those of the class itself.
        """
        where: dict[str, Any] = {"device": device, "dtype": dtype, "compile": compile, "quantization": quantization}
        model, tokenizer = load_pretrained(AutoModelForCausalLM, name_or_path, gguf=gguf, **where)
        return cls(model, tokenizer, **{"name": str(name_or_path), **options})

    @property
    def findings(self) -> tuple[str, ...]:
        """What the doctor prints of it."""
        return (self._prompt.shown,)

    @cached_property
    def vocabulary(self) -> str:
        """A digest of the id → token map over the ids this model can emit; padded embedding rows do not count."""
        return self._codec.fingerprint(self._size)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of config, dtype, prompt settings and weights (`model_digest` says how weights are sampled), of the
        whole tokenizer, and of the rendered prompt, which a template may date. Devices differ by rounding alone."""
        first = model_digest(self.engine.model, (self.vocabulary, self._prompt.shape, self.stop_ids))
        return fingerprint_of(first, tokenizer=self._codec.content, prompt=self._prompt.rendered)

    @property
    def stop_ids(self) -> Ids:
        """Sorted: every id whose text contains "\\n\\n", the tokenizer's EOS, and the generation config's."""
        return self._stop_ids

    def supports(self, law: SamplingLaw) -> None:
        """Any temperature above 0 and any top_p in (0, 1]; else LawMismatch."""
        check_law(law, self._size)

    def encode(self, text: str) -> Ids:
        """Token ids of plain text; control tokens stay text; ConfigError for characters the model cannot represent."""
        return self._codec.encode(text)

    def prefix_ids(self, prefix: Prefix) -> Ids:
        """x as token ids: the rendered prompt, then the steps' own ids."""
        for step in prefix.steps:
            self._check_ids(step.token_ids)
        return tuple(chain(self._prompt_ids(prefix.problem), *(step.token_ids for step in prefix.steps)))

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        """y_1..y_n ~ π(· | x): one uniform a token from Stream(key, i), inverse CDF. log_prob in nats under `law`.

        A candidate's numbers do not depend on who shares its batch, up to the rounding of the forward itself.
        """
        self.supports(law)
        if n < 1:
            raise ConfigError(f"n is {n}; ask for at least one candidate")
        ids = self.prefix_ids(prefix)
        limit = min(law.max_step_tokens, self._room(ids, 1))
        stops = frozenset(self.stop_ids if law.stop_ids is None else law.stop_ids)
        drawn = self.engine.draw(ids, n, key, law, limit=limit, stops=stops, size=self._size)
        return [self._step(tokens, values) for tokens, values in drawn]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        """log π(y_i | x) under `law`, in nats, in one forward pass; −inf where a step lies outside of the law."""
        self.supports(law)
        rows = [step.token_ids for step in steps]
        for i, row in enumerate(rows):
            if not row:
                raise ConfigError(f"{self.name}: candidate {i} has no token ids to score; encode its text first")
            self._check_ids(row)
        if not rows:
            return []
        ids = self.prefix_ids(prefix)
        self._room(ids, max(map(len, rows)))
        unique = list(dict.fromkeys(rows))  # small models repeat themselves
        sums = [nan] * len(unique)

        def read(logits: Tensor, which: range) -> None:
            found = target_log_probs(logits[..., : self._size], [unique[i] for i in which], law)
            sums[which.start : which.stop] = found

        fed = [(ids[-1], *row[:-1]) for row in unique]
        self.engine.continuations(ids, fed, read, most=self._positions)
        known = dict(zip(unique, sums, strict=True))
        for i, row in enumerate(rows):
            if isnan(known[row]):
                raise self._no_number(f"the log-probability of candidate {i}")
        return [Score(known[row]) for row in rows]

    def next_log_probs(
        self, prefix: Prefix, rows: Sequence[Ids], starts: Sequence[int], law: SamplingLaw
    ) -> list[Array]:
        """log π(· | x, row[:j]) under `law`, j = start … len(row): shape (len(row) − start + 1, ids), float64, nats."""
        self.supports(law)
        for row in rows:
            self._check_ids(row)
        ids = self.prefix_ids(prefix)
        self._room(ids, max(map(len, rows)) + 1)
        found: dict[int, Array] = {}

        def read(logits: Tensor, which: range) -> None:
            for row, i in enumerate(which):
                wanted = logits[row, starts[i] : len(rows[i]) + 1, : self._size]
                found[i] = log_probs(wanted, law).double().cpu().numpy()

        self.engine.continuations(ids, [(ids[-1], *row) for row in rows], read, most=self._positions)
        return [found[i] for i in range(len(rows))]

    def step_of(self, token_ids: Sequence[int], log_prob: float) -> Step:
        """The step of these token ids. Raises VocabularyMismatch for ids without a token."""
        self._check_ids(tuple(token_ids))
        return Step(
            self._codec.decode(token_ids, drop=self._eos), tuple(token_ids), log_prob, token_ids[-1] in self._eos
        )

    def close(self) -> None:
        """Free the prefix cache. The weights go with the object."""
        self.engine.cache.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _step(self, tokens: list[int], values: list[float]) -> Step:
        log_prob = fsum(values)
        if isnan(log_prob):
            raise self._no_number("the log-probability of a sampled step")
        return self.step_of(tokens, log_prob)

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

    def _check_ids(self, ids: Ids) -> None:
        if ids and not 0 <= min(ids) <= max(ids) < self._size:
            raise VocabularyMismatch(
                f"{self.name}: a step has token id {max(ids)}, but this model knows ids below {self._size}; "
                "draft and base must share one tokenizer"
            )

    def _no_number(self, what: str) -> InvalidLogProb:
        """The error for a NaN. The keys and values it came from may be cached: nothing of them is kept."""
        self.engine.cache.clear()
        dtype = self.engine.model.dtype
        hint = "try float32" if dtype.itemsize < 4 else "check the weights"
        return InvalidLogProb(f"{self.name}: {what} is NaN (dtype is {dtype}: {hint})")


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codec: Codec, size: int) -> Ids:
    """The tokenizer's EOS and the generation config's, if they are added tokens.

    A config that names no EOS inherits a default (2 for Llama), which may be an ordinary word of this tokenizer.
    """
    generation = getattr(model, "generation_config", None)
    configured = getattr(generation, "eos_token_id", None)
    found = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    special = codec.added_ids | {tokenizer.eos_token_id}
    return tuple(sorted(int(i) for i in found if i is not None and i in special and i < size))
