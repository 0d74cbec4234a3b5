"""Steps as runs keep them: plain dicts of JSON-plain values, and back; and what a run's records say of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gsi_node.answer import last_boxed, visible
from gsi_node.protocols import DecodingModel, written_of
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models, StepContext
from gsi_node.step.judging import Commit, Judging, Refuse
from gsi_node.step.rules import CandidateBatch
from gsi_node.types import Plain, Prefix, Step

_APART = {"thought": 0, "vocabulary": "", "draft": None}


def pack_step(step: Step, *, likely: bool = False) -> Plain:
    """A candidate as a plain dict. likely: with its likely ids, which are many and few models read."""
    kept = {"likely": [list(ids) for ids in step.likely]} if likely and step.likely else {}
    return {
        "text": step.text,
        "token_ids": list(step.token_ids),
        "log_prob": step.log_prob,
        "finished": step.finished,
        "log_prob_error": step.log_prob_error,
        **_apart(step),
        **kept,
    }


def unpack_step(record: Plain) -> Step:
    """A candidate from its plain dict."""
    step = replace(committed_step(record), log_prob=record["log_prob"], finished=record["finished"])
    likely = tuple(tuple(ids) for ids in record.get("likely", ()))
    return replace(step, log_prob_error=record["log_prob_error"], likely=likely)


def _apart(step: Step) -> Plain:
    """What only some steps have: thinking, a vocabulary that is not that of all models, and which of several drafts
    wrote it."""
    return {name: value for name, usual in _APART.items() if (value := getattr(step, name)) != usual}


def _by(step: Step) -> Plain:
    """Which of several drafts wrote it."""
    return {} if step.draft is None else {"draft": step.draft}


def committed_step(record: Plain) -> Step:
    """A step of a prefix, whose numbers nobody reads."""
    ids, apart = tuple(record["token_ids"]), {name: record[name] for name in _APART if name in record}
    return Step(record["text"], ids, 0.0, False, **apart)


def next_context(
    models: Models, config: GSIConfig, asked: Prefix, problem_id: str, done: Sequence[Plain]
) -> StepContext:
    """Where a run stands after the records of its committed steps, none of which ends the response. asked: what it
    answers, without steps."""
    prefix = replace(asked, steps=tuple(map(committed_step, done)))
    thinking, tokens_so_far = models.thinking, _tokens(done)
    if thinking is None:
        law = config.law(tokens_so_far=tokens_so_far, eos_ids=models.eos_ids)
    else:
        inside, tokens = thinking.after(step.token_ids for step in prefix.steps)
        thought = tokens if inside or not done else None  # the first step may open the block itself
        law = config.law(tokens_so_far=tokens_so_far, eos_ids=models.eos_ids, thinks=True, thought=thought)
    return StepContext(models, config, problem_id, prefix, law, done=done, lost=lost_draft(done))


def unmeasured_record(step: Step, source: str) -> Plain:
    """The record of a step that no method decided. source: "initial", with the input; "given", closing thinking;
    "human", written in the method's place."""
    about = {"text": step.text, "token_ids": list(step.token_ids), "source": source}
    return {**dict.fromkeys(FIELDS), **about, **_apart(step)}


def lost_draft(records: Sequence[Plain]) -> str | None:
    """Why the base decided the last step alone, its draft being out of reach: so it stays to the end of the run."""
    last = _counted(records)[-1:]
    return last[0].get("degraded") if last else None


def decided(records: Sequence[Plain]) -> list[Plain]:
    """Those of the steps that the method decided: neither given, nor written or accepted by a person."""
    return [r for r in records if r["source"] not in UNMEASURED and r.get("accepted_by") is None]


def _counted(records: Sequence[Plain]) -> list[Plain]:
    """Those of the steps that count against max_steps: all that were decided, by whomever."""
    return [record for record in records if record["source"] not in GIVEN]


GIVEN = ("initial", "given")
UNMEASURED = (*GIVEN, "human")
FIELDS = (
    "text",
    "token_ids",
    "source",
    "accepted",
    "reward",
    "log_prob_draft",
    "log_prob_base",
    "log_ratio",
    "log_ratio_error",
    "tilted_reward",
    "ess",
    "log_mean_weight",
    "n_candidates",
)


def step_record(context: StepContext, judging: Judging, verdict: Commit | Refuse) -> Plain:
    """What is known of a decided step. Log-probabilities in nats; None where the method computes no such number.

    A step of the fallback counts as not accepted. Of a scan: candidates judged, whether the chosen one hit the
    envelope, how often the clip bound.
    """
    steps, batch, chosen, source = judging.steps, judging.batch, verdict.chosen, judging.method.propose

    def numbers(i: int | None) -> Plain:
        own = None if i is None or math.isinf(steps[i].log_prob_error) else steps[i].log_prob
        return {
            "reward": _at(batch.rewards, i),
            "log_prob_draft": own if source == "draft" else None,
            "log_prob_base": own if source != "draft" else _at(batch.scores, i),
            "log_ratio": _at(batch.log_ratios, i),
            "log_ratio_error": _at(batch.log_ratio_errors, i),
            "tilted_reward": _at(batch.tilted_rewards, i),
        }

    record = {
        "text": None if chosen is None else steps[chosen].text,
        "token_ids": None if chosen is None else list(steps[chosen].token_ids),
        "source": source,
        "accepted": isinstance(verdict, Commit) and not context.falls_back,
        **numbers(chosen),
        "ess": batch.ess,
        "log_mean_weight": batch.log_mean_weight,
        "n_candidates": len(steps),
        **({} if chosen is None else _apart(steps[chosen])),
    }
    if context.config.record == "candidates":
        record["candidates"] = [
            {
                "text": step.text,
                "token_ids": list(step.token_ids),
                **numbers(i),
                **_by(step),
                **_written(context, step, batch, i),
            }
            for i, step in enumerate(steps)
        ]
    if verdict.hit is not None:
        clipped = 0 if batch.log_ratios is None else int((batch.log_ratios > context.config.log_ratio_clip).sum())
        record["scan"] = {"n_scored": judging.count, "hit": verdict.hit, "n_clipped": clipped}
    return record


def _written(context: StepContext, step: Step, batch: CandidateBatch, i: int) -> Plain:
    """What the reward wrote to judge a candidate, where it judged this one and writes."""
    judged = _at(batch.rewards, i) is not None
    written = written_of(context.reward, context.prefix, step) if judged else []
    return {"written": written} if written else {}


def _at(values: Any, i: int | None) -> float | None:
    """None also for a candidate that a scan did not judge."""
    return None if values is None or i is None or i >= len(values) else float(values[i])


def _tokens(records: Sequence[Plain]) -> int:
    return sum(len(record["token_ids"]) for record in records)


def stop_reason(records: Sequence[Plain], finished: bool, config: GSIConfig) -> str | None:
    """Why the run is over after the last record, the first reason that holds; None while it goes on."""
    if finished:
        return "eos"
    if last_boxed(answering(records)) is not None:
        return "answer"
    if _tokens(records) >= config.max_tokens:
        return "max_tokens"
    if len(_counted(records)) >= config.max_steps:
        return "max_steps"
    return None


def standing(
    models: Models, config: GSIConfig, records: Sequence[Plain], finished: bool
) -> tuple[list[Plain], str | None]:
    """What is given behind the last record, and why the run is over, None while it goes on.

    Thinking that has had its max_thinking_tokens is closed by force, by one record. Where that leaves no token of
    max_tokens to answer with, nothing is given and the run is over.
    """
    reason, thinking = stop_reason(records, finished, config), models.thinking
    if reason is not None or thinking is None or config.max_thinking_tokens is None:
        return [], reason
    steps = tuple(map(committed_step, records))
    inside, tokens = thinking.after(step.token_ids for step in steps)
    if not inside or tokens < config.max_thinking_tokens:
        return [], None
    reader = next(model for model in models.language_models() if isinstance(model, DecodingModel))
    given = unmeasured_record(reader.step_of(Prefix("", steps), thinking.closing, 0.0), "given")
    reason = stop_reason([*records, given], False, config)
    return ([given], None) if reason is None else ([], reason)


def response(records: Sequence[Plain]) -> str:
    """The whole reasoning."""
    return "".join(record["text"] for record in records)


def answering(records: Sequence[Plain]) -> str:
    """What the response says behind its thinking."""
    return visible((record["text"], record.get("thought", 0)) for record in records)


def acceptance_rate(records: Sequence[Plain]) -> float | None:
    """Accepted steps over those on which the method gave a verdict, whoever wrote them; None where it gave none."""
    accepted = [record["accepted"] for record in records if record["accepted"] is not None]
    return sum(accepted) / len(accepted) if accepted else None
