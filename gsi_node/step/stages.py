"""One step of GSI as pure stages over plain records (arXiv 2506.04118, algorithm 1).

  draft     y_1..y_n ~ π_S(· | x)
  reward    r_i = r(x, y_i)                      } independent of each other
  score     log π_B(y_i | x), one forward pass   }
  tilt      ℓ_i = log π_B − log π_S,  r̃_i = r_i + ℓ_i/β,  log w_i = β r̃_i
  select    i* ~ softmax(log w)
  accept    r̃_{i*} ≥ u
  fallback  y'_1..y'_n ~ π_B(· | x),  j* ~ softmax(β r(x, y'_j))

The other methods put other rules in the same places (methods.py). A method that scans puts its candidates in a random
order, judges them chunk by chunk, and selects as soon as one hits the envelope. The first three and the fallback are
generators of model calls (calls.py). Call stages through this module (`stages.tilt(…)`), in production and in the exact
law alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gsi_node.core.choose import Chooser, below_envelope, first_hit, random_order
from gsi_node.core.weights import ess, log_mean_weight, tilted_rewards
from gsi_node.errors import BackendError, DegenerateWeights, InvalidLogProb, LawMismatch, RewardOutOfRange
from gsi_node.protocols import Reward, StepModel, name_of
from gsi_node.step.calls import Call, Role, Stage
from gsi_node.step.methods import Method, Settings, Weighed
from gsi_node.types import Array, Key, Prefix, SamplingLaw, Score, Step

ChooserOf = Callable[[str, int], Chooser]  # (phase, candidate) -> who makes the decisions about it
_POSITIVE_TOLERANCE = 1e-3  # nats a step: what float32 rounding may put above log 1


def draft(model: StepModel, role: Role, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> Stage[list[Step]]:
    """y_1..y_n ~ π(· | x), with their log-probabilities in nats under the law. Raises InvalidLogProb, BackendError."""
    steps: list[Step] = list((yield Call(role, model, "sample", (prefix, n, key, law))))
    _expect(len(steps), n, "steps", role, model, prefix)
    for i, step in enumerate(steps):
        if step.log_prob == -math.inf:
            raise InvalidLogProb(f"{role} model {name_of(model)} sampled candidate {i} at log-probability -inf")
        _check_log_prob(step.log_prob, i, role, model)
    return steps


def reward(model: Reward, prefix: Prefix, steps: Sequence[Step]) -> Stage[list[float]]:
    """r_i = r(x, y_i), checked against the reward's declared range. Raises RewardOutOfRange, BackendError."""
    rewards = [float(r) for r in (yield Call("reward", model, "__call__", (prefix, steps), steps))]
    _expect(len(rewards), len(steps), "rewards", "reward", model, prefix)
    low, high = model.range
    for i, value in enumerate(rewards):
        if not low <= value <= high:
            raise RewardOutOfRange(
                f"reward model {name_of(model)} gave {value} for candidate {i} ({steps[i].text[:60]!r}) of "
                f"{prefix.problem[:60]!r}; its range is [{low}, {high}]: declare the true range or mend the model"
            )
    return rewards


def score(model: StepModel, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> Stage[list[Score]]:
    """log π_B(y_i | x) in nats under the law, without generation. Raises InvalidLogProb, BackendError."""
    results = yield Call("base", model, "score", (prefix, steps, law), steps)
    scores = [s if isinstance(s, Score) else Score(float(s)) for s in results]
    _expect(len(scores), len(steps), "scores", "base", model, prefix)
    for i, value in enumerate(scores):
        _check_log_prob(value.log_prob, i, "base", model)
    return scores


def tilt(
    method: Method,
    steps: Sequence[Step],
    rewards: Sequence[float] | None,
    scores: Sequence[Score] | None,
    settings: Settings,
) -> Weighed:
    """ℓ_i = log π_B(y_i|x) − log π_S(y_i|x), r̃_i = r_i + ℓ_i/β and the method's log-weights; None where unused.

    Raises LawMismatch where the certified bound on some ℓ_i exceeds settings.max_log_ratio_error.
    """
    r = None if rewards is None else np.asarray(rewards, dtype=np.float64)
    log_ratios = used = errors = tilted = log_w = None
    if method.uses_ratio:
        assert r is not None and scores is not None
        log_ratios = np.asarray([s.log_prob - y.log_prob for s, y in zip(scores, steps, strict=True)])
        errors = np.asarray([s.error + y.log_prob_error for s, y in zip(scores, steps, strict=True)])
        _check_errors(errors, settings.max_log_ratio_error)
        used = np.minimum(log_ratios, settings.log_ratio_clip) if method.clipped else log_ratios
        tilted = tilted_rewards(r, used, settings.beta)
    if method.weigh is not None:
        log_w = method.weigh(r, used, settings)
    if log_w is None or not method.uses_weights:
        return Weighed(r, log_ratios, tilted, log_w, None, None, errors)
    mean = log_mean_weight(log_w)
    return Weighed(r, log_ratios, tilted, log_w, ess(log_w) if mean > -math.inf else 0.0, mean, errors)


def select(method: Method, batch: Weighed, chooser: Chooser) -> int | None:
    """i*, by the method's rule. None where every weight is zero and there is a fallback; else DegenerateWeights."""
    if batch.log_weights is None:
        return 0
    if _impossible(batch):
        if method.fallback is None:
            raise DegenerateWeights(
                f"method {method.name}: all {len(batch.log_weights)} candidates have weight zero (the base cannot "
                "make any of them); raise n, or use a method with a fallback"
            )
        return None
    return method.choose(batch.log_weights, chooser)


def scan_order(method: Method, steps: Sequence[Step], chooser: Chooser) -> list[Step]:
    """The candidates in the order they will be judged: a uniformly random one for a method that scans."""
    return [steps[i] for i in random_order(len(steps), chooser)] if method.scans else list(steps)


def next_chunk(method: Method, n: int, judged: int, settings: Settings) -> range:
    """Which of n candidates to judge next: all of them, or the next settings.chunk_size of a scan."""
    return range(judged, min(n, judged + settings.chunk_size)) if method.scans else range(n)


def log_envelope(reward_model: Reward, settings: Settings) -> float:
    """K = β R + log_ratio_clip: no clipped log-weight β r + min(ℓ, log_ratio_clip) is larger. Nats."""
    return settings.beta * reward_model.range[1] + settings.log_ratio_clip


def scan(
    method: Method, batch: Weighed, new: range, n: int, envelope: float, chooser_of: ChooserOf
) -> tuple[int | None, bool] | None:
    """argmax of log w_i + E_i over n candidates, E_i ~ Exp(1), of which `batch` are judged, `new` of them just now.

    i hits where its noisy weight reaches K = `envelope`, with probability exp(log w_i − K); the argmax among hits is
    uniform among them, so the first hit of a random order is it. Without any hit, the argmax under that condition is
    `method.choose` of below_envelope (docs/math.md §6). Returns (index, whether it hit), (None, False) where every
    weight is zero, or None where there is no hit yet: judge more.
    """
    log_w = batch.log_weights
    assert log_w is not None
    hit = first_hit(log_w[new.start : new.stop] - envelope, lambda i: chooser_of("hit", new.start + i))
    if hit is not None:
        return new.start + hit, True
    if new.stop < n:
        return None
    if _impossible(batch):
        return None, False
    return method.choose(below_envelope(log_w, envelope), chooser_of("flip", 0)), False


def accept(method: Method, batch: Weighed, chosen: int, chooser: Chooser, settings: Settings) -> bool:
    """Whether the chosen candidate is committed: true with the method's acceptance probability."""
    if method.accept is None:
        return True
    log_prob = method.accept(batch, chosen, settings)
    return log_prob == 0.0 or (log_prob > -math.inf and chooser.accept(log_prob))


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a batch: the candidate chosen, None where none can be; whether it is committed; of a scan,
    whether it hit the envelope."""

    chosen: int | None
    accepted: bool
    hit: bool | None = None


def decide(
    method: Method,
    batch: Weighed,
    new: range,
    n: int,
    reward_model: Reward | None,
    chooser_of: ChooserOf,
    settings: Settings,
) -> Decision | None:
    """select or scan, then accept; None where a scan has to judge more.

    batch: the judged ones of n candidates, of which `new` were judged just now.
    """
    chooser = chooser_of("select", 0)
    hit: bool | None = None
    if method.scans:
        assert reward_model is not None
        found = scan(method, batch, new, n, log_envelope(reward_model, settings), chooser_of)
        if found is None:
            return None
        chosen, hit = found
    else:
        chosen = select(method, batch, chooser)
    return Decision(chosen, chosen is not None and accept(method, batch, chosen, chooser, settings), hit)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a fallback drew: its candidates, their weights, and which one is committed."""

    steps: list[Step]
    batch: Weighed
    chosen: int


def fallback(
    method: Method,
    base: StepModel,
    reward_model: Reward | None,
    prefix: Prefix,
    n: int,
    key: Key,
    law: SamplingLaw,
    chooser: Chooser,
    settings: Settings,
) -> Stage[Replacement]:
    """j* of n steps drawn from π_B, by the rules of `method` (the fallback, itself a method; no ratio here)."""
    steps = yield from draft(base, "base", prefix, 1 if method.single else n, key, law)
    rewards = None
    if method.uses_reward:
        assert reward_model is not None
        rewards = yield from reward(reward_model, prefix, steps)
    batch = tilt(method, steps, rewards, None, settings)
    chosen = select(method, batch, chooser)
    assert chosen is not None
    return Replacement(steps, batch, chosen)


def _impossible(batch: Weighed) -> bool:
    return batch.log_weights is not None and float(np.max(batch.log_weights)) == -math.inf


def _expect(found: int, wanted: int, what: str, role: str, model: object, prefix: Prefix) -> None:
    if found != wanted:
        raise BackendError(
            f"{role} model {name_of(model)} returned {found} {what} for {wanted} candidates of {prefix.problem[:60]!r}"
        )


def _check_log_prob(value: float, candidate: int, role: str, model: object) -> None:
    if math.isnan(value) or value > _POSITIVE_TOLERANCE:
        raise InvalidLogProb(f"{role} model {name_of(model)} gave log-probability {value} for candidate {candidate}")


def _check_errors(errors: Array, most: float) -> None:
    if not bool(np.all(errors <= most)):  # a NaN is refused too
        i = int(np.argmax(errors))
        raise LawMismatch(
            f"candidate {i}: its log-ratio is known within {errors[i]:.3g} nats, but max_log_ratio_error is {most}; "
            "list more tokens (?top_k=…), start vLLM with --logprobs-mode processed_logprobs, set temperature to 1, "
            "or run the models in process or behind gsi_node.service"
        )
