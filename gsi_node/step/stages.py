"""What GSI asks its models in one step, as generators of model calls (calls.py), and what it makes sure of in answers.

  draft     y_1..y_n ~ π_S(· | x)
  reward    r_i = r(x, y_i)                      } independent of each other
  score     log π_B(y_i | x), one forward pass   }

What is made of the answers stands in judging.py. Call stages through this module (`stages.draft(…)`), so that a planted
one is planted in production and in the exact law alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gsi_node.errors import BackendError, InvalidLogProb, RewardOutOfRange
from gsi_node.protocols import Reward, StepModel, name_of
from gsi_node.step.calls import Call, Role, Stage
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step

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


def _expect(found: int, wanted: int, what: str, role: str, model: object, prefix: Prefix) -> None:
    if found != wanted:
        raise BackendError(
            f"{role} model {name_of(model)} returned {found} {what} for {wanted} candidates of {prefix.problem[:60]!r}"
        )


def _check_log_prob(value: float, candidate: int, role: str, model: object) -> None:
    if math.isnan(value) or value > _POSITIVE_TOLERANCE:
        raise InvalidLogProb(f"{role} model {name_of(model)} gave log-probability {value} for candidate {candidate}")
