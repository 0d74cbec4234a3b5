"""The token side of a language model, wherever it runs: prompt ids, step ends and vocabulary, from its tokenizer."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Self

from gsi_node.ends import StepEnds
from gsi_node.errors import ConfigError, VocabularyMismatch
from gsi_node.text.codec import Codec
from gsi_node.text.prompt import USUAL, PromptSettings, prompt_format
from gsi_node.text.spelling import spelled
from gsi_node.text.tokenizers import eos_beside, served_tokenizer
from gsi_node.types import Ends, Ids, Prefix, SamplingLaw, Step, Thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Tokens:
    """name: of the model, for messages. size: ids below it can be emitted, and no other takes part in a softmax.

    eos_ids: sorted, the tokenizer's EOS and the model's. bytes_of: what each id writes; EOS nothing. thinking: how the
    model thinks, None where it does not.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        prompt: PromptSettings = USUAL,
        *,
        rows: int | None = None,
        model_eos: Iterable[int] = (),
    ) -> None:
        """rows: the model's outputs at a position, where it is known (padded ones belong to no token).

        model_eos: what its generation config calls EOS. Only added tokens count: a config that names none inherits a
        default (2 for Llama), which may be an ordinary word of this tokenizer.
        """
        self.codec = Codec(tokenizer, name)
        known = max(self.codec.tokens) + 1
        self.size = known if rows is None else min(rows, known)
        own = tokenizer.eos_token_id
        added = {i for i in model_eos if i in self.codec.added_ids}
        self.eos_ids: Ids = tuple(sorted(int(i) for i in added | {own} if i is not None and i < self.size))
        self.bytes_of = spelled(self.codec)[: self.size]
        self.format = prompt_format(self.codec, prompt, ending="\n\n")
        self._prompt_ids = lru_cache(256)(self.format.ids)
        self.thinking = self.format.thinking
        self._eos = frozenset(self.eos_ids)
        for i in self.eos_ids:
            self.bytes_of[i] = b""
        self._ends = lru_cache(16)(self._ends_under)

    @classmethod
    def of_folder(cls, source: str, name: str, prompt: PromptSettings = USUAL) -> Self:
        """Those of a model that runs elsewhere, from a folder with its tokenizer's files or from a hub name."""
        return cls(served_tokenizer(source, name), name, prompt, model_eos=eos_beside(source))

    @cached_property
    def vocabulary(self) -> str:
        """A digest of the id → token map over the ids below `size`."""
        return self.codec.fingerprint(self.size)

    def prefix_ids(self, prefix: Prefix) -> Ids:
        """x as token ids: the rendered prompt, then the steps' own ids."""
        for step in prefix.steps:
            self.check(step.token_ids)
        return tuple(
            chain(self._prompt_ids(prefix.problem, prefix.earlier), *(step.token_ids for step in prefix.steps))
        )

    def step(self, prefix: Prefix, ids: Ids, log_prob: float, error: float = 0.0) -> Step:
        """The step of these ids behind a prefix. Raises VocabularyMismatch for ids without a token."""
        self.check(ids)
        finished = ids[-1] in self._eos
        reader = codecs.getincrementaldecoder("utf-8")("replace")
        reader.decode(self._left(prefix))
        thought = self._thought(prefix, ids)
        text = reader.decode(b"".join(self.bytes_of[i] for i in ids[:thought]), final=finished and thought == len(ids))
        said = reader.decode(b"".join(self.bytes_of[i] for i in ids[thought:]), final=finished)
        return Step(text + said, ids, log_prob, finished, error, len(text) if thought else 0)

    def _thought(self, prefix: Prefix, ids: Ids) -> int:
        """How many of the ids stand before what is no thinking."""
        if self.thinking is None:
            return 0
        inside, _ = self.thinking.after(step.token_ids for step in prefix.steps)
        return self.thinking.through(ids, inside)[1]

    def _left(self, prefix: Prefix) -> bytes:
        """The last bytes of the response, which may be the beginning of a character."""
        before = chain.from_iterable(reversed(step.token_ids) for step in reversed(prefix.steps))
        last = list(islice((i for i in before if self.bytes_of[i]), 3))
        return b"".join(self.bytes_of[i] for i in reversed(last))

    def step_ends(self, law: SamplingLaw) -> StepEnds:
        """Where steps end under `law`."""
        return self._ends(law.ends, self.eos_ids if law.eos_ids is None else law.eos_ids)

    def _ends_under(self, ends: Ends, eos_ids: Ids) -> StepEnds:
        control = self.codec.control_ids
        return StepEnds(ends, [None if i in control else text for i, text in enumerate(self.bytes_of)], eos_ids)

    def rows(self, steps: Sequence[Step]) -> list[Ids]:
        """The ids of steps to score. Raises ConfigError for a step without ids, VocabularyMismatch."""
        for i, step in enumerate(steps):
            if not step.token_ids:
                raise ConfigError(f"{self.codec.name}: candidate {i} has no token ids to score; encode its text first")
            self.check(step.token_ids)
        return [step.token_ids for step in steps]

    def check(self, ids: Ids) -> None:
        """VocabularyMismatch for ids that the model cannot emit."""
        if ids and not 0 <= min(ids) <= max(ids) < self.size:
            raise VocabularyMismatch(
                f"{self.codec.name}: a step has token id {max(ids)}, but this model knows ids below {self.size}; draft "
                "and base must share one tokenizer (of a served model, ?tokenizer=… must name its own)"
            )


class Tokenized:
    """What a step model answers by its `tokens` alone."""

    tokens: Tokens

    @property
    def vocabulary(self) -> str:
        """A digest of the id → token map over the ids this model can emit; padded embedding rows do not count."""
        return self.tokens.vocabulary

    @property
    def eos_ids(self) -> Ids:
        """Sorted: the tokenizer's EOS, and the generation config's."""
        return self.tokens.eos_ids

    def step_ends(self, law: SamplingLaw) -> StepEnds:
        """Where steps end under `law`."""
        return self.tokens.step_ends(law)

    @property
    def prompt_date(self) -> str | None:
        """The day that the prompt of a lone problem tells; None where it tells none."""
        return self.tokens.format.date

    @property
    def thinking(self) -> Thinking | None:
        """How the model thinks before it answers; None where it does not."""
        return self.tokens.thinking

    def encode(self, text: str) -> Ids:
        """Token ids of plain text; control tokens stay text; ConfigError for characters the model cannot represent."""
        return self.tokens.codec.encode(text)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        """The step of these token ids behind a prefix. Raises VocabularyMismatch for ids without a token."""
        return self.tokens.step(prefix, tuple(token_ids), log_prob)
