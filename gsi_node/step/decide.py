"""One step decided, as a plain loop over the judging machine: propose, judge until there is a verdict, fall back.

The graph's nodes call the same `propose` and `fall_back`, and the exact law the same `settle`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from gsi_node.errors import BackendUnavailable
from gsi_node.hearing import Hear
from gsi_node.protocols import TokenModel
from gsi_node.step import judging as machine
from gsi_node.step import stages
from gsi_node.step.calls import Stage, run
from gsi_node.step.context import StepContext
from gsi_node.step.drafts import draft_together, drawn_labels, fixed_labels
from gsi_node.step.guesses import current_guesses
from gsi_node.step.judges import judging_early, rewards_of, scores_of
from gsi_node.step.judging import Commit, Continue, Judging, NoDraft, Refuse
from gsi_node.step.lookahead import likely, refusal_is_certain
from gsi_node.step.records import step_record
from gsi_node.step.speculate import speculate
from gsi_node.types import Plain, Step

_log = logging.getLogger("gsi_node")


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided step: what is committed, its record as docs/node.md describes it, and the verdict that committed it."""

    step: Step
    record: Plain
    verdict: Commit


def decide_step(context: StepContext) -> Decision:
    """The next step of a run, decided by its method. Raises GSIError."""
    return run(deciding(context))[0]


def deciding(context: StepContext) -> Stage[Decision]:
    """The same as a stage, which yields its model calls."""
    found = yield from propose(context)
    if isinstance(found, NoDraft):
        return (yield from fall_back(context, {"degraded": found.why}))
    judging, verdict = yield from settle(context, found)
    record = step_record(context, judging, verdict)
    if isinstance(verdict, Refuse):
        return (yield from fall_back(context, {"rejected": record}))
    return Decision(judging.steps[verdict.chosen], record, verdict)


def propose(context: StepContext) -> Stage[Judging | NoDraft]:
    """y_1..y_n from the model that proposes, in the order in which they are judged.

    NoDraft where the draft cannot be reached, now or since an earlier step, and the settings let the base go on alone.
    """
    if context.lost is not None and not context.falls_back:
        return NoDraft(context.lost)
    early = judging_early(context)
    try:
        steps = yield from _drawn(context, None if early is None else early.hear)
    except BackendUnavailable as error:
        if early is not None:
            early.drop()
        if not context.config.allow_degraded or context.method.propose != "draft":
            raise
        _log.warning("the draft is lost, the base goes on alone: %s", error)
        return NoDraft(str(error))
    judging = Judging.of(context, machine.scan_order(context.method, steps, context.chooser("order")))
    if early is not None:
        early.close(judging.next_chunk())
    look_ahead(context, steps)
    return judging


def _drawn(context: StepContext, hear: Hear | None = None) -> Stage[list[Step]]:
    role, config = context.method.propose, context.config
    if role == "specdec":
        draft, base = context.draft, context.base
        assert isinstance(draft, TokenModel) and isinstance(base, TokenModel)
        own = partial(context.chooser, "draft")
        where = (context.prefix, context.n, context.law)
        return (yield from speculate(draft, base, *where, gamma=config.gamma, chooser_of=own, hear=hear))
    if role == "draft" and (drafts := context.models.drafts).several:
        counts = drafts.counts(context.n)
        labels, key = _labels(context, counts), context.key("draft")
        return (yield from draft_together(drafts, counts, labels, context.prefix, key, context.law, hear=hear))
    model, prefix = context.draft if role == "draft" else context.base, context.prefix
    if context.models.by_text:
        prefix = replace(prefix, steps=(yield from stages.read(model, role, prefix.steps, context.models.encoded)))
    steps = yield from stages.draft(model, role, prefix, context.n, context.key("draft"), context.law, hear=hear)
    return [replace(step, vocabulary=model.vocabulary) for step in steps] if context.models.by_text else steps


def _labels(context: StepContext, counts: list[int]) -> list[int]:
    """Which draft writes which candidate. A hit of a scan has the target's law only where each candidate has law m."""
    if not context.method.scans:
        return fixed_labels(counts)
    return drawn_labels(counts, [context.chooser("label", i) for i in range(sum(counts))])


def look_ahead(context: StepContext, steps: Sequence[Step], rewards: Sequence[float] | None = None) -> None:
    """Let the models begin with what they will be asked next, where a run guesses: behind candidates of which the first
    are rewarded, or none yet. Nothing is guessed where nothing is judged, nor of specdec, which leaves no model idle.
    """
    guesses, method = current_guesses(), context.method
    if guesses is None or not guesses.most:
        return
    if method.propose == "specdec" or not (method.uses_reward or method.uses_score):
        return
    if rewards is not None and refusal_is_certain(context, steps, rewards):
        guesses.hold([_drawn(context.fallback())], wanted=True)
    else:
        guesses.hold(map(_drawn, likely(context, steps, rewards)))


def settle(context: StepContext, judging: Judging) -> Stage[tuple[Judging, Commit | Refuse]]:
    """Ask for rewards and scores until the candidates have their verdict."""
    while True:
        chunk = judging.next_chunk()
        rewards, scores = judging.rewards, judging.scores
        if judging.method.uses_reward:
            rewards = [*(rewards or ()), *(yield from rewards_of(context, chunk))]
            look_ahead(context, judging.steps, rewards)
        if judging.method.uses_score:
            scores = [*(scores or ()), *(yield from scores_of(context, chunk))]
        judging = judging.judged(rewards, scores)
        verdict = judging.verdict(context.chooser)
        if not isinstance(verdict, Continue):
            return judging, verdict


def fall_back(context: StepContext, before: Plain) -> Stage[Decision]:
    """π_B drafts the step itself, by the fallback's rules. before: what its record says of the draft."""
    context = context.fallback()
    proposed = yield from propose(context)
    assert isinstance(proposed, Judging)
    judging, verdict = yield from settle(context, proposed)
    assert isinstance(verdict, Commit)
    return Decision(judging.steps[verdict.chosen], step_record(context, judging, verdict) | before, verdict)
