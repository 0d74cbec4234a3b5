"""What GSI asks its models in one step, as generators of model calls (calls.py), and what it makes sure of in answers.

  draft     y_1..y_n ~ π_S(· | x)         read      x in the ids of a model that did not write it
  reward    r_i = r(x, y_i)                      } independent of each other
  score     log π_B(y_i | x), one forward pass   }

What is made of the answers stands in judging.py. Call stages through this module (`stages.draft(…)`), so that a planted
one is planted in production and in the exact law alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gsi_node.errors import BackendError, InvalidLogProb
from gsi_node.hearing import Hear
from gsi_node.protocols import Reward, Role, StepModel, name_of
from gsi_node.step.calls import Call, Stage
from gsi_node.step.guess import calls_of
from gsi_node.types import Ids, Key, Prefix, SamplingLaw, Score, Step

T = TypeVar("T")
POSITIVE_TOLERANCE = 1e-3  # nats a step: what float32 rounding may put above log 1
_KNOWN = 4096  # encoded steps that are kept


def draft(
    model: StepModel, role: Role, prefix: Prefix, n: int, key: Key, law: SamplingLaw, *, hear: Hear | None = None
) -> Stage[list[Step]]:
    """y_1..y_n ~ π(· | x), with their log-probabilities in nats under the law. Raises InvalidLogProb, BackendError."""
    steps: list[Step] = yield Call(role, model, "sample", (prefix, n, key, law), hear=hear)
    _expect(len(steps), n, "steps", role, model, prefix)
    for i, step in enumerate(steps):
        if step.log_prob == -math.inf:
            raise InvalidLogProb(f"{role} model {name_of(model)} sampled candidate {i} at log-probability -inf")
        _check_log_prob(step.log_prob, i, role, model)
    return steps


def read(
    model: StepModel, role: Role, steps: Sequence[Step], known: dict[tuple[str, str], Ids]
) -> Stage[tuple[Step, ...]]:
    """Steps as `model` reads them: one in another vocabulary's ids is encoded from its text, alone, so that no join of
    texts moves a token. known: what was encoded before, to which is added."""
    mine = []
    for step in steps:
        if step.vocabulary not in ("", model.vocabulary):
            place = (model.vocabulary, step.text)
            ids = known.get(place)  # runs share it: what stands there now may be forgotten by the next line
            if ids is None:
                ids = tuple((yield Call(role, model, "encode", (step.text,))))
                if len(known) >= _KNOWN:
                    known.clear()
                known[place] = ids
            step = replace(step, token_ids=ids, vocabulary=model.vocabulary)
        mine.append(step)
    return tuple(mine)


def reward(model: Reward, prefix: Prefix, steps: Sequence[Step]) -> Stage[list[float]]:
    """r_i = r(x, y_i), within the reward's declared range, as `ask` checks. Raises RewardOutOfRange, BackendError."""
    rewards: list[float] = yield Call("reward", model, "__call__", (prefix, steps), steps)
    return rewards


def score(
    model: StepModel, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw, role: Role = "base"
) -> Stage[list[Score]]:
    """log π(y_i | x) in nats under the law, without generation. Raises InvalidLogProb, BackendError."""
    scores: list[Score] = yield Call(role, model, "score", (prefix, steps, law), steps)
    _expect(len(scores), len(steps), "scores", role, model, prefix)
    for i, value in enumerate(scores):
        _check_log_prob(value.log_prob, i, role, model)
    return scores


def together(parts: Sequence[Stage[T]]) -> Stage[list[T]]:
    """The values of stages of one call each, of which none waits for another."""
    if not parts:
        return []
    answers = yield tuple(call for part in parts for call in calls_of(next(part)))
    return [_ended(part, answer) for part, answer in zip(parts, answers, strict=True)]


def _ended(part: Stage[T], answer: Any) -> T:
    try:
        part.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("a stage of one call asked for another")


def _expect(found: int, wanted: int, what: str, role: str, model: object, prefix: Prefix) -> None:
    if found != wanted:
        raise BackendError(
            f"{role} model {name_of(model)} returned {found} {what} for {wanted} candidates of {prefix.problem[:60]!r}"
        )


def _check_log_prob(value: float, candidate: int, role: str, model: object) -> None:
    if math.isnan(value) or value > POSITIVE_TOLERANCE:
        raise InvalidLogProb(f"{role} model {name_of(model)} gave log-probability {value} for candidate {candidate}")
