"""A step that a person decides in the method's place: one of their own, or the draft that the method refused.

Neither is under the method's law, and their records say so.
"""

from __future__ import annotations

from dataclasses import replace

from gsi_node.errors import ConfigError, shown
from gsi_node.protocols import tells_scores
from gsi_node.step import stages
from gsi_node.step.calls import Stage
from gsi_node.step.context import StepContext
from gsi_node.step.decide import Decision
from gsi_node.step.judging import Commit
from gsi_node.step.problem import read_step
from gsi_node.step.records import committed_step, unmeasured_record
from gsi_node.types import Plain

_WHERE = "steps: the one written by hand"


def decide_by_hand(context: StepContext, written: Plain, before: Plain) -> Stage[Decision]:
    """What a person wrote, as a decided step.

    written: a dict with `text`, with `token_ids` too where they are known (read_step); or, with the source "draft", the
    refused draft. before: what the record says of the method's own try: `rejected`, or why it is `degraded`. Its
    log-probability under the base is asked, in nats, where the method has one that tells it. Raises ConfigError.
    """
    source = written.get("source", "human")
    if source == "draft":
        return _accepted(context, written, before.get("rejected"))
    if source != "human":
        raise ConfigError(
            f"{_WHERE}: its source is {shown(source)}; give a text without a source, or 'draft' for the refused draft"
        )
    step = read_step(written, context.prefix, context.models.language_models(), context.law.ends, _WHERE)
    record = unmeasured_record(step, "human") | before
    if "rejected" in before:
        record["accepted"] = False
    if "base" in context.config.rule.models and tells_scores(context.base, context.law):
        prefix, known = context.prefix, context.models.encoded
        *before_it, own = yield from stages.read(context.base, "base", (*prefix.steps, step), known)
        prefix = replace(prefix, steps=tuple(before_it))
        (score,) = yield from stages.score(context.base, prefix, [own], context.law)
        record["log_prob_base"] = score.log_prob
    return Decision(step, record, Commit(0))


def _accepted(context: StepContext, written: Plain, refused: Plain | None) -> Decision:
    """The refused draft, committed all the same; `accepted` keeps the method's own verdict."""
    if refused is None or refused["text"] is None:
        raise ConfigError(
            f"{_WHERE}: its source is 'draft', but no draft was refused here; give a text without a source"
        )
    other = [key for key in ("text", "token_ids") if written.get(key, refused[key]) != refused[key]]
    if other:
        raise ConfigError(
            f"{_WHERE}: its source is 'draft', but its {other[0]} is {shown(written[other[0]])}, that of the refused "
            f"draft {shown(refused[other[0]])}; leave the source out of a step of your own"
        )
    ids = tuple(refused["token_ids"])
    writers = context.models.in_vocabulary(refused.get("vocabulary", ""))
    finished = any(ids[-1] in model.eos_ids for model in writers if ids)
    step = replace(committed_step(refused), finished=finished)
    return Decision(step, {**refused, "accepted_by": "human"}, Commit(0))
