"""What every process reward model does with texts, wherever it runs: ids, empty steps, repeated steps, bad numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, repeat
from math import isfinite

from gsi_node.bases import RewardBase
from gsi_node.errors import ConfigError, RewardOutOfRange
from gsi_node.rewards.constant import ConstantWatch
from gsi_node.rewards.prm.layout import StepLayout
from gsi_node.rewards.thinking import as_answer
from gsi_node.types import Ids, Prefix, Step


class RenderedReward(RewardBase, ABC):
    """P(good) of each candidate step, read at the last of its ids.

    An empty candidate is never scored: one that only ends the response keeps the reward of the last step before it
    (the range's lower end if there is none), and one that does not end it either gets the range's lower end.
    """

    range = (0.0, 1.0)

    def __init__(self, name: str, layout: StepLayout, limit: int | None, *, traces: bool) -> None:
        """limit: tokens the model reads at most, None where that is not known. traces: whether it reads the thinking
        before an answer."""
        self.name = name
        self.layout = layout
        self._traces = traces
        self._limit = limit
        self._watch = ConstantWatch(name)
        self._prompt_ids = lru_cache(256)(layout.prompt)
        self._committed_ids = lru_cache(4096)(layout.committed)
        self._candidate_ids = lru_cache(4096)(layout.candidate)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A fingerprint of everything that determines the rewards."""

    @abstractmethod
    def values(self, ids: Ids, rows: Sequence[Ids]) -> list[float]:
        """P(good) at the end of each row after the context `ids`; no row is empty and none comes twice."""

    def prefix_ids(self, prefix: Prefix) -> Ids:
        """x as this model's token ids: the prompt, then each non-empty step."""
        steps = self._said(prefix)
        firsts = chain([True], repeat(False))
        pieces = (self._committed_ids(step.text, first) for step, first in zip(steps, firsts, strict=False))
        return tuple(chain(self._prompt_ids(prefix.problem, prefix.earlier), *pieces))

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        """P(good) of each candidate after `prefix`, in [0, 1]; of a response that thinks as `as_answer` has it, unless
        the model reads traces."""
        views = [(prefix, step) if self._traces else as_answer(prefix, step) for step in steps]
        rewards: dict[int, float] = {}
        for before in dict.fromkeys(view[0] for view in views):
            candidates = {i: step for i, (own, step) in enumerate(views) if own == before}
            rewards |= self._rewards(before, candidates)
        return [rewards[i] for i in range(len(steps))]

    def _rewards(self, prefix: Prefix, candidates: Mapping[int, Step]) -> dict[int, float]:
        """Of candidates of one prefix, by their places."""
        steps, said = list(candidates.values()), self._said(prefix)
        ids = self.prefix_ids(prefix)
        rows = [self._candidate_ids(step.text, not said) for step in steps]
        longest = len(ids) + max(map(len, rows), default=0)
        if self._limit is not None and longest > self._limit:
            raise ConfigError(
                f"reward model {self.name} reads {self._limit} tokens at most; prefix and step have {longest}"
            )
        unique = list(dict.fromkeys(row for row in rows if row))
        known = dict(zip(unique, self.values(ids, unique), strict=True)) if unique else {}
        ending = [not row and step.finished for row, step in zip(rows, steps, strict=True)]
        before = self(replace(prefix, steps=said[:-1]), said[-1:])[0] if said and any(ending) else self.range[0]
        rewards = {}
        for i, row, ends in zip(candidates, rows, ending, strict=True):
            value = known[row] if row else before if ends else self.range[0]
            if not (isfinite(value) and self.range[0] <= value <= self.range[1]):
                raise RewardOutOfRange(
                    f"reward model {self.name} gave {value} for candidate {i} ({candidates[i].text[:60]!r}) of problem "
                    f"{prefix.problem[:60]!r}; {self._suspicion()}"
                )
            rewards[i] = value
        self._watch.see(known.values())
        return rewards

    def _suspicion(self) -> str:
        return "check its weights"

    def _said(self, prefix: Prefix) -> tuple[Step, ...]:
        """The committed steps with something in them."""
        return tuple(step for step in prefix.steps if self._committed_ids(step.text, True))
