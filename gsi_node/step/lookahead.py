"""What a run will ask its models next, as far as can be known before a step is judged.

guess     the draft's y_1..y_n behind a candidate that is likely to be committed
certain   the fallback's, once no candidate can be accepted whatever the base says: log π_B ≤ 0 (docs/math.md §8)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gsi_node.step.context import StepContext
from gsi_node.step.judging import accept, tilt
from gsi_node.step.records import next_context, standing, unmeasured_record
from gsi_node.step.stages import POSITIVE_TOLERANCE
from gsi_node.types import Ids, Score, Step


def likely(context: StepContext, steps: Sequence[Step], rewards: Sequence[float] | None) -> Iterator[StepContext]:
    """Where the run stands behind each of the `lookahead` choices likeliest by what is known, ends left out: by Σ exp(β
    r_i) over equal candidates of those that are rewarded, or, before any is, by how often each was drawn."""
    mass: dict[Ids, float] = {}
    known = [0.0] * len(steps) if rewards is None else rewards
    highest = max(known)
    for step, reward in zip(steps, known, strict=False):
        weight = math.exp(context.config.beta * (reward - highest))
        mass[step.token_ids] = mass.get(step.token_ids, 0.0) + weight
    first = {step.token_ids: step for step in reversed(steps)}
    for ids in sorted(mass, key=lambda ids: -mass[ids])[: context.config.lookahead]:
        behind = following(context, first[ids])
        if behind is not None:
            yield behind


def following(context: StepContext, step: Step) -> StepContext | None:
    """Where the run stands once `step` is committed, with what is given behind it; None where that is its end."""
    done = [*context.done, unmeasured_record(step, context.method.propose)]
    given, reason = standing(context.models, context.config, done, step.finished)
    if reason is not None:
        return None
    asked = replace(context.prefix, steps=())
    return next_context(context.models, context.config, asked, context.problem_id, [*done, *given])


def refusal_is_certain(context: StepContext, steps: Sequence[Step], rewards: Sequence[float]) -> bool:
    """Whether the rule refuses whichever candidate is chosen, were each of them certain under the base."""
    method, settings = context.method, context.config
    if method.accept is None or len(rewards) < len(steps):
        return False
    most = [Score(POSITIVE_TOLERANCE)] * len(steps)
    batch = tilt(method, steps, rewards, most if method.uses_score else None, settings)
    for i in range(len(steps)):
        chooser = context.chooser("select")
        chooser.choose([0.0])  # the choice comes before the acceptance, and takes one number of the stream
        if accept(method.accept, batch, i, chooser, settings):
            return False
    return True
