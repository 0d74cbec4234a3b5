"""One step's candidates judged: a pure value that the exact law, the graph's nodes and the plain loop drive alike.

  tilt      ℓ_i = log π_B − log π_S,  r̃_i = r_i + ℓ_i/β,  log w_i = β r̃_i        (arXiv 2506.04118, algorithm 1)
  select    i* ~ softmax(log w)
  accept    r̃_{i*} ≥ u

The other methods put other rules in the same places (rules.py). A method that scans judges its candidates chunk by
chunk in a random order, and selects as soon as one hits the envelope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from gsi_node.core.choose import Chooser, below_envelope, first_hit, random_order
from gsi_node.core.weights import ess, log_mean_weight, tilted_rewards
from gsi_node.errors import DegenerateWeights, LawMismatch
from gsi_node.protocols import Reward
from gsi_node.step.context import StepContext
from gsi_node.step.fields import Settings
from gsi_node.step.methods import Method
from gsi_node.step.rules import Accept, CandidateBatch
from gsi_node.types import Array, Score, Step

ChooserOf = Callable[[str, int], Chooser]  # (phase, candidate) -> who makes the decisions about it


@dataclass(frozen=True, slots=True)
class Commit:
    """Candidate `chosen` is the step. hit: of a scan, whether it hit the envelope."""

    chosen: int
    hit: bool | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """The step is left to the fallback. why: the rule did not accept candidate `chosen`, or all weights are zero."""

    why: Literal["rule", "weights"]
    chosen: int | None = None
    hit: bool | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """A scan has to judge more than the first `judged`."""

    judged: int


@dataclass(frozen=True, slots=True)
class NoDraft:
    """There are no candidates, and the step is left to the fallback: why the draft cannot be reached."""

    why: str


Verdict = Commit | Refuse | Continue


@dataclass(frozen=True)
class Judging:
    """The candidates of a step in the order in which they are judged, and what is known of the first of them.

    count: how many are judged; decided: how many of them were so when a verdict was last given, in vain. rewards,
    scores: of the judged; None where the method asks for none. envelope: K ≥ every log-weight of a scan, in nats.
    """

    method: Method
    settings: Settings
    steps: Sequence[Step]
    count: int = 0
    decided: int = 0
    _: KW_ONLY
    rewards: Sequence[float] | None = None
    scores: Sequence[Score] | None = None
    envelope: float = math.inf

    @classmethod
    def of(cls, context: StepContext, steps: Sequence[Step], count: int = 0) -> Judging:
        """Candidates in their order, of which `count` were judged before."""
        method, settings = context.method, context.config
        envelope = log_envelope(method, context.models.reward, settings) if method.scans else math.inf
        return cls(method, settings, steps, count, envelope=envelope)

    def next_chunk(self) -> Sequence[Step]:
        """Whom to judge next: all, or the next settings.chunk_size of a scan."""
        if not self.method.scans:
            return self.steps
        return self.steps[self.count : self.count + self.settings.chunk_size]

    def judged(self, rewards: Sequence[float] | None, scores: Sequence[Score] | None) -> Judging:
        """With the rewards and scores of all candidates judged so far."""
        known = rewards if scores is None else scores
        count = len(self.steps) if known is None else len(known)
        return replace(self, count=count, decided=self.count, rewards=rewards, scores=scores)

    @cached_property
    def batch(self) -> CandidateBatch:
        """The judged ones, weighed."""
        return tilt(self.method, self.steps[: self.count], self.rewards, self.scores, self.settings)

    def verdict(self, chooser_of: ChooserOf) -> Verdict:
        """select or scan, then accept. Raises DegenerateWeights, LawMismatch."""
        chooser, hit = chooser_of("select", 0), None
        if self.method.scans:
            found = scan(self, chooser_of)
            if found is None:
                return Continue(self.count)
            chosen, hit = found
        else:
            chosen = select(self.method, self.batch, chooser)
        if chosen is None:
            return Refuse("weights", None, hit)
        rule = self.method.accept
        if rule is not None and not accept(rule, self.batch, chosen, chooser, self.settings):
            return Refuse("rule", chosen, hit)
        return Commit(chosen, hit)


def tilt(
    method: Method,
    steps: Sequence[Step],
    rewards: Sequence[float] | None,
    scores: Sequence[Score] | None,
    settings: Settings,
) -> CandidateBatch:
    """ℓ_i = log π_B(y_i|x) − log π_S(y_i|x), r̃_i = r_i + ℓ_i/β and the method's log-weights; None where unused.

    Raises LawMismatch where the certified bound on some ℓ_i, or on log π_B(y_i|x) of a method without a ratio, exceeds
    settings.max_log_ratio_error.
    """
    tokens = np.asarray([len(step.token_ids) for step in steps], dtype=np.float64)
    r = None if rewards is None else np.asarray(rewards, dtype=np.float64)
    log_base = log_ratios = errors = tilted = None
    if scores is not None:
        log_base = np.asarray([score.log_prob for score in scores])
        errors = np.asarray([score.error for score in scores])
        if method.uses_ratio:
            log_ratios = log_base - np.asarray([step.log_prob for step in steps])
            errors = errors + np.asarray([step.log_prob_error for step in steps])
        _check_errors(errors, settings.max_log_ratio_error, "log-ratio" if method.uses_ratio else "log π_B")
        if r is not None and log_ratios is not None:
            clips = method.weigh is not None and method.weigh.clips
            used = np.minimum(log_ratios, settings.log_ratio_clip) if clips else log_ratios
            tilted = tilted_rewards(r, used, settings.beta)
    batch = CandidateBatch(tokens, r, log_base, log_ratios, errors if method.uses_ratio else None, tilted)
    if method.weigh is None:
        return batch
    log_w = method.weigh.compute(batch, settings)
    if not method.uses_weights:
        return replace(batch, log_weights=log_w)
    mean = log_mean_weight(log_w)
    return replace(batch, log_weights=log_w, ess=ess(log_w) if mean > -math.inf else 0.0, log_mean_weight=mean)


def select(method: Method, batch: CandidateBatch, chooser: Chooser) -> int | None:
    """i*, by the method's rule. None where every weight is zero and there is a fallback; else DegenerateWeights."""
    if batch.log_weights is None:
        return 0
    if float(np.max(batch.log_weights)) == -math.inf:
        if method.fallback is None:
            raise DegenerateWeights(
                f"method {method.name}: all {len(batch.log_weights)} candidates have weight zero (the base cannot "
                "make any of them); raise n, or use a method with a fallback"
            )
        return None
    return method.choose.compute(batch.log_weights, chooser)


def scan_order(method: Method, steps: Sequence[Step], chooser: Chooser) -> list[Step]:
    """The candidates in the order they will be judged: a uniformly random one for a method that scans."""
    return [steps[i] for i in random_order(len(steps), chooser)] if method.scans else list(steps)


def log_envelope(method: Method, reward: Reward | None, settings: Settings) -> float:
    """K: no log-weight of a scan is larger, the reward's declared range being true. Nats."""
    assert method.weigh is not None and method.weigh.bound is not None
    return method.weigh.bound(math.inf if reward is None else reward.range[1], settings)


def scan(judging: Judging, chooser_of: ChooserOf) -> tuple[int | None, bool] | None:
    """argmax of log w_i + E_i over all candidates, E_i ~ Exp(1), of which some are judged, the last of them just now.

    i hits where its noisy weight reaches K = envelope, with probability exp(log w_i − K); the argmax among hits is
    uniform among them, so the first hit of a random order is it. Without any hit, the argmax under that condition is
    `choose` of below_envelope (docs/math.md §6). Returns (index, whether it hit), (None, False) where every weight is
    zero and there is a fallback, or None where there is no hit yet: judge more.
    """
    log_w, first = judging.batch.log_weights, judging.decided
    assert log_w is not None
    hit = first_hit(log_w[first:] - judging.envelope, lambda i: chooser_of("hit", first + i))
    if hit is not None:
        return first + hit, True
    if judging.count < len(judging.steps):
        return None
    below = replace(judging.batch, log_weights=below_envelope(log_w, judging.envelope))
    return select(judging.method, below, chooser_of("flip", 0)), False


def accept(rule: Accept, batch: CandidateBatch, chosen: int, chooser: Chooser, settings: Settings) -> bool:
    """Whether the chosen candidate is committed: true with the rule's acceptance probability."""
    log_prob = rule.compute(batch, chosen, settings)
    return log_prob == 0.0 or (log_prob > -math.inf and chooser.accept(log_prob))


def _check_errors(errors: Array, most: float, what: str) -> None:
    if not bool(np.all(errors <= most)):  # a NaN is refused too
        i = int(np.argmax(errors))
        raise LawMismatch(
            f"candidate {i}: its {what} is known within {errors[i]:.3g} nats, but max_log_ratio_error is {most}; "
            "list more tokens (?top_k=…), start vLLM with --logprobs-mode processed_logprobs, set temperature to 1, "
            "or run the models in process or behind `gsi serve`"
        )
