"""Token-level speculative decoding (arXiv 2211.17192, 2302.01318): π_B's own steps, most of their tokens from π_S.

  draft     t_1..t_γ ~ q(· | x, …), one after another, up to a step end
  verify    p(· | x, t_<j) for every j, one forward of π_B
  accept    t_j with probability min(1, p(t_j) / q(t_j)), in order
  correct   the first refused t_j is drawn again ∝ (p − q)+; where none is refused, one more token is drawn from p

Each token has law p given those before it, so a step has π_B's law, whatever q and γ (docs/math.md §7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from gsi_node.bases import AsyncTwins
from gsi_node.core.choose import Chooser, KeyedChooser
from gsi_node.ends import END, START, StepEnds
from gsi_node.errors import ConfigError, InvalidLogProb
from gsi_node.hearing import Hear
from gsi_node.protocols import TokenModel, name_of, thinking_of
from gsi_node.step.calls import Call, Stage, run
from gsi_node.types import Array, Key, Prefix, SamplingLaw, Score, Step, Thinking


def speculate(
    draft: TokenModel,
    base: TokenModel,
    prefix: Prefix,
    n: int,
    law: SamplingLaw,
    *,
    gamma: int,
    chooser_of: Callable[[int], Chooser],
    hear: Hear | None = None,
) -> Stage[list[Step]]:
    """y_1..y_n ~ π_B(· | x), independent, with log π_B in nats. gamma: tokens drafted before a verification.

    The candidates go in step, each with its own decisions: chooser_of(i). Charged are the draft's tokens (generated),
    the base's verified ones (scored), and one token of its own a verification (generated) unless the draft had ended
    the step: these are the positions of the forwards. hear: hears of those that have ended. Raises InvalidLogProb.
    """
    ends = base.step_ends(law)
    rows = [_Row(chooser_of(i), ends, law.max_step_tokens) for i in range(n)]
    told: set[int] = set()
    while live := [row for row in rows if not row.ended]:
        for _ in range(gamma):
            going = [row for row in live if not row.ended]
            if not going:
                break
            ids = [row.ids for row in going]
            arguments = (prefix, ids, [len(each) for each in ids], law)
            laws = yield Call("draft", draft, "next_log_probs", arguments, tokens=(len(going), 0))
            for row, (q,) in zip(going, laws, strict=True):
                row.propose(_checked(q, "draft", draft))
        own = sum(not row.ended for row in live)
        arguments = (prefix, [row.verified for row in live], [len(row.tokens) for row in live], law)
        proposed = sum(len(row.drafted) for row in live)
        laws = yield Call("base", base, "next_log_probs", arguments, tokens=(own, proposed))
        for row, p in zip(live, laws, strict=True):
            row.verify(_checked(p, "base", base))
        ended = {i for i, row in enumerate(rows) if row.ended}
        if hear is not None and len(ended) < n:
            hear({i: partial(_step_of, base, prefix, rows[i]) for i in ended - told})
        told = ended
    return [_step_of(base, prefix, row) for row in rows]


def _step_of(base: TokenModel, prefix: Prefix, row: _Row) -> Step:
    return base.step_of(prefix, row.tokens, math.fsum(row.log_probs))


@dataclass(slots=True)
class _Row:
    """One candidate: its committed tokens with their log p, the drafted ones with their q, and the automaton's state
    before them all and after each."""

    chooser: Chooser
    ends: StepEnds
    limit: int
    tokens: tuple[int, ...] = ()
    log_probs: list[float] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    laws: list[Array] = field(default_factory=list)
    states: list[int] = field(default_factory=lambda: [START])

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.tokens, *self.drafted)

    @property
    def verified(self) -> tuple[int, ...]:
        """What the base reads: a drafted token that ends the step needs no law after it."""
        return self.ids[:-1] if self.ended else self.ids

    @property
    def ended(self) -> bool:
        return len(self.ids) == self.limit or self.states[-1] == END

    def propose(self, q: Array) -> None:
        self.drafted.append(self.chooser.choose(q))
        self.laws.append(q)
        self._read(self.drafted[-1])

    def verify(self, p: Array) -> None:
        """p: log-probabilities, shape (drafted, ids), or one row more where the draft did not end the step."""
        drafted, laws = self.drafted, self.laws
        self.drafted, self.laws = [], []
        del self.states[len(self.tokens) + 1 :]
        for token, q, after in zip(drafted, laws, p, strict=False):
            if not self.chooser.accept(min(0.0, float(after[token] - q[token]))):
                return self._commit(self.chooser.choose(residual(after, q)), after)
            self._commit(token, after)
        if not self.ended:
            self._commit(self.chooser.choose(p[-1]), p[-1])
        return None

    def _commit(self, token: int, law: Array) -> None:
        self.tokens = (*self.tokens, token)
        self.log_probs.append(float(law[token]))
        self._read(token)

    def _read(self, token: int) -> None:
        self.states.append(self.ends.after(self.states[-1], token))


def residual(p: Array, q: Array) -> Array:
    """log (p − q)+ up to a constant, from log p and log q; p itself where rounding leaves no mass."""
    left = np.exp(p) - np.exp(q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(left > 0.0, np.log(left), -math.inf) if bool((left > 0.0).any()) else p


def _checked(law: Array, role: str, model: object) -> Array:
    if np.isnan(law).any():
        raise InvalidLogProb(f"{role} model {name_of(model)}: a next-token law has NaN")
    return law


class SpeculativeModel(AsyncTwins):
    """π_B as a step model that drafts its tokens with π_S: the same law as `base`, in fewer forwards of it."""

    def __init__(self, draft: TokenModel, base: TokenModel, gamma: int = 4) -> None:
        if gamma < 1:
            raise ConfigError(f"gamma: want at least one drafted token a verification, got {gamma}")
        self.draft, self.base, self.gamma = draft, base, gamma
        self.name = f"{name_of(base)} drafted by {name_of(draft)}"

    @property
    def vocabulary(self) -> str:
        return self.base.vocabulary

    @property
    def fingerprint(self) -> str:
        return f"speculative:{self.gamma}:{self.draft.fingerprint}:{self.base.fingerprint}"

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return self.base.eos_ids

    @property
    def thinking(self) -> Thinking | None:
        return thinking_of(self.base)

    def supports(self, law: SamplingLaw) -> None:
        self.draft.supports(law)
        self.base.supports(law)

    def encode(self, text: str) -> tuple[int, ...]:
        return self.base.encode(text)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        return self.base.step_of(prefix, token_ids, log_prob)

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        """n steps of π_B's law; candidate i decides by Stream(key, i) only."""
        own = partial(KeyedChooser, key)
        return run(speculate(self.draft, self.base, prefix, n, law, gamma=self.gamma, chooser_of=own))[0]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return self.base.score(prefix, steps, law)
