"""A language model that writes before it judges, as a Reward: in process, served, or any DecodingModel with scores.

  r(x, y) = mean over chains c ~ π(· | question) of  π(+ | question, c) / (π(+ | question, c) + π(− | question, c))

read at the verdict's token at temperature 1 (GenRM-CoT, arXiv 2408.15240, §3). The K chains of a step are one request,
and those of all candidates are asked for side by side: an engine writes them in company, behind one cached question.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from math import fsum, isnan
from threading import Lock
from typing import NamedTuple

from gsi_node.bases import RewardBase, require_model
from gsi_node.errors import ConfigError, InvalidLogProb, NoVerdict, SpecError
from gsi_node.identity import fingerprint_of
from gsi_node.protocols import DecodingModel, ask, check_ratio, close, name_of, thinking_of
from gsi_node.rewards.constant import ConstantWatch
from gsi_node.rewards.generative.formats import FORMATS
from gsi_node.rewards.prm.families import first
from gsi_node.rewards.thinking import as_answer
from gsi_node.types import Ends, Ids, Key, Plain, Prefix, SamplingLaw, Score, Step, Turn

AT_ONCE = 16
"""Steps whose chains are written at a time."""
_VERDICT = SamplingLaw(temperature=1.0, max_step_tokens=1, ends=Ends(()))


class VerdictQuestion(NamedTuple):
    """What is judged: the last of `steps`, of a solution of `problem`."""

    problem: str
    steps: tuple[str, ...]


class VerdictChain(NamedTuple):
    """What a verifier wrote. good: P(+) at its verdict, None without one. tokens: written."""

    text: str
    good: float | None
    tokens: int


class GenerativeReward(RewardBase):
    """P(good) of each candidate step, by chains of Stream(Key(seed, prefix and step's text), chain).

    An empty candidate is never asked about: one that only ends the response keeps the reward of the step before it (0
    if there is none), and any other gets 0. The thinking of a response is left out, as `as_answer` has it.
    written_tokens, chains, without_verdict: what was written so far, and how many chains came to no verdict.
    """

    def __init__(
        self,
        model: DecodingModel,
        *,
        family: str,
        chains: int = 1,
        max_tokens: int = 2048,
        seed: int = 0,
        temperature: float = 0.7,
    ) -> None:
        """family: of FORMATS. max_tokens: of a chain; one that is cut there may lack its verdict, and is left out of
        the mean. temperature: of chains; a verdict is read at 1. Raises ConfigError, LawMismatch.
        """
        self.name = f"generative {name_of(model)}@{family}"
        if family not in FORMATS:
            raise SpecError(f"{self.name}: format {family!r} is unknown; known: {', '.join(FORMATS)}")
        self._format = FORMATS[family]
        if chains < 1 or max_tokens < 1:
            raise SpecError(f"{self.name}: chains={chains} and max_tokens={max_tokens}; at least 1 of each is needed")
        require_model(self.name, model, score=True)
        if not isinstance(model, DecodingModel):
            raise ConfigError(f"{self.name}: {name_of(model)} lacks step_of, by which a verdict is found in a chain")
        stop = self._format.stop
        self._law = SamplingLaw(temperature, max_step_tokens=max_tokens, ends=Ends(() if stop is None else (stop,)))
        for law in (self._law, _VERDICT):
            model.supports(law)
        check_ratio(model, _VERDICT)
        self._model = model
        thinks_by_itself = self._format.place == "last" and thinking_of(model) is not None
        self._opening = "" if thinks_by_itself else self._format.opening
        self._settings = (chains, max_tokens, seed, temperature)
        self._words = [Step(word, self._first_id(word), 0.0, False) for word in self._format.words]
        if self._words[0].token_ids == self._words[1].token_ids:
            raise ConfigError(f"{self.name}: its tokenizer begins {' and '.join(self._format.words)} with one token")
        self._watch = ConstantWatch(self.name)
        self._chains = lru_cache(1024)(self._written)
        self._counting = Lock()
        self.written_tokens = self.chains = self.without_verdict = 0

    @cached_property
    def fingerprint(self) -> str:
        """That of the model, the format's texts, and the settings, the seed among them."""
        parts = {"model": self._model.fingerprint, "format": self._format.told, "chains": self._settings}
        return fingerprint_of(f"generative:{self._format.name}", parts)

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        """P(good) of each candidate after `prefix`, in [0, 1]. Raises NoVerdict where no chain has one."""
        asked = [_question(prefix, step) for step in steps]
        unique = [one for one in dict.fromkeys(asked) if one is not None]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gsi-verify") as pool:
            work = {one: pool.submit(copy_context().run, self._mean, one) for one in unique}
            known = {one: value.result() for one, value in work.items()}
        self._watch.see(known.values())
        return [self.range[0] if one is None else known[one] for one in asked]

    def written(self, prefix: Prefix, step: Step) -> list[Plain]:
        """The chains that were written about a candidate, `good` being P(+); written again if long forgotten."""
        asked = _question(prefix, step)
        return [] if asked is None else [one._asdict() for one in self._chains(asked)]

    def close(self) -> None:
        """Close the model."""
        close(self._model)

    def _mean(self, asked: VerdictQuestion) -> float:
        chains = self._chains(asked)
        good = [chain.good for chain in chains if chain.good is not None]
        if not good:
            raise NoVerdict(
                f"reward model {self.name} came to no verdict ({self._format.slot!r}) about {asked.steps[-1]!r:.60} "
                f"of problem {asked.problem[:60]!r} in {len(chains)} chains, the last of which ends "
                f"{chains[-1].text[-60:]!r}: raise max_tokens or chains, or check that it is a verifier of this format"
            )
        return fsum(good) / len(good)

    def _written(self, asked: VerdictQuestion) -> tuple[VerdictChain, ...]:
        chains, _, seed, _ = self._settings
        *earlier, question = self._format.turns(*asked)
        k = len(asked.steps)
        prefix = Prefix(question.content, self._given(self._opening.replace("{k}", str(k))), tuple(earlier))
        digest = blake2b(json.dumps(asked).encode(), digest_size=16).hexdigest()
        drawn: list[Step] = ask(self._model, "sample", prefix, chains, Key(seed, digest, k, "verify"), self._law)
        found = tuple(self._read(prefix, chain, k) for chain in drawn)
        with self._counting:
            self.written_tokens += sum(chain.tokens for chain in found)
            self.chains += len(found)
            self.without_verdict += sum(chain.good is None for chain in found)
        return found

    def _read(self, prefix: Prefix, chain: Step, k: int) -> VerdictChain:
        """P(+) at the chain's verdict."""
        tokens = len(chain.token_ids) + chain.beyond
        slot = self._slot(prefix, chain, k)
        if slot is None:
            return VerdictChain(chain.text, None, tokens)
        behind = replace(prefix, steps=(*prefix.steps, *slot))
        scores: list[Score] = ask(self._model, "score", behind, self._words, _VERDICT)
        good = first([score.log_prob for score in scores])
        if isnan(good):
            raise InvalidLogProb(
                f"{self.name}: neither {' nor '.join(self._format.words)} has a probability at the verdict of a chain "
                f"that ends {chain.text[-60:]!r}"
            )
        return VerdictChain(chain.text, good, tokens)

    def _slot(self, prefix: Prefix, chain: Step, k: int) -> tuple[Step, ...] | None:
        """The steps that lead to a chain's verdict; None where it has none that a token begins."""
        start = 0 if self._format.place == "each" else chain.thought  # ThinkPRM's verdicts may stand in its thinking
        end = self._format.slot_end(chain.text[start:], k, chain.finished)
        if end is None:
            behind = self._format.slot_behind(chain.text[start:], chain.finished)
            ids = chain.token_ids[:-1] if chain.finished else chain.token_ids
            return None if behind is None else (replace(chain, token_ids=ids), *self._given(behind))

        def length(count: int) -> int:
            return len(self._model.step_of(prefix, chain.token_ids[:count], 0.0).text)

        count = bisect_left(range(len(chain.token_ids) + 1), start + end, lo=1, key=length)
        return (replace(chain, token_ids=chain.token_ids[:count]),) if length(count) == start + end else None

    def _given(self, text: str) -> tuple[Step, ...]:
        """A text that is put into the verifier's mouth."""
        return (Step(text, self._model.encode(text), 0.0, False),) if text else ()

    def _first_id(self, word: str) -> Ids:
        ids = self._model.encode(word)[:1]
        if not ids:
            raise ConfigError(f"{self.name}: its tokenizer has no token for {word!r}")
        return ids


def _question(prefix: Prefix, step: Step) -> VerdictQuestion | None:
    """What is asked about a candidate; None where there is nothing to ask about. The turns of a conversation stand
    before its problem, but for a system turn, which tells how to solve."""
    prefix, step = as_answer(prefix, step)
    said = [text for text in (one.text.strip() for one in prefix.steps) if text]
    texts = (*said, step.text.strip()) if step.text.strip() else tuple(said) if step.finished else ()
    told = [turn for turn in prefix.earlier if turn.role != "system"]
    problem = prefix.problem
    if told:
        problem = "\n\n".join(f"{turn.role}: {turn.content}" for turn in (*told, Turn("user", problem)))
    return VerdictQuestion(problem, texts) if texts else None
