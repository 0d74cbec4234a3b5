"""Steps as the state keeps them: plain dicts of JSON-plain values, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gsi_node.step.methods import Weighed
from gsi_node.types import Plain, Prefix, Score, Step


def pack_step(step: Step) -> Plain:
    """A candidate as a plain dict."""
    return {
        "text": step.text,
        "token_ids": list(step.token_ids),
        "log_prob": step.log_prob,
        "finished": step.finished,
        "log_prob_error": step.log_prob_error,
    }


def unpack_step(record: Plain) -> Step:
    """A candidate from its plain dict."""
    ids, error = tuple(record["token_ids"]), record["log_prob_error"]
    return Step(record["text"], ids, record["log_prob"], record["finished"], error)


def prefix_of(problem: str, records: Sequence[Plain]) -> Prefix:
    """x, from the problem and the records of the committed steps (none of them ends the response)."""
    return Prefix(problem, tuple(Step(r["text"], tuple(r["token_ids"]), 0.0, False) for r in records))


def initial_record(text: str, token_ids: Sequence[int]) -> Plain:
    """The record of a step that came with the input: nothing about it was measured."""
    return {**dict.fromkeys(FIELDS), "text": text, "token_ids": list(token_ids), "source": "initial"}


def lost_draft(records: Sequence[Plain]) -> str | None:
    """Why the base decided the last step alone, its draft being out of reach: so it stays to the end of the run."""
    return records[-1].get("degraded") if records else None


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


def step_record(
    *,
    source: str,
    accepted: bool,
    steps: Sequence[Step],
    batch: Weighed,
    chosen: int | None,
    scores: Sequence[Score] | None,
    every: bool,
) -> Plain:
    """What is known of a decided step. Log-probabilities in nats; None where the method computes no such number.

    source: the model that drew the candidates. chosen: None where no candidate could be chosen. every: also keep all
    candidates.
    """

    def numbers(i: int | None) -> Plain:
        own = None if i is None else steps[i].log_prob
        base = (
            own if source in ("base", "specdec") else None if scores is None else _at([s.log_prob for s in scores], i)
        )
        return {
            "reward": _at(batch.rewards, i),
            "log_prob_draft": own if source == "draft" else None,
            "log_prob_base": base,
            "log_ratio": _at(batch.log_ratios, i),
            "log_ratio_error": _at(batch.log_ratio_errors, i),
            "tilted_reward": _at(batch.tilted_rewards, i),
        }

    record = {
        "text": None if chosen is None else steps[chosen].text,
        "token_ids": None if chosen is None else list(steps[chosen].token_ids),
        "source": source,
        "accepted": accepted,
        **numbers(chosen),
        "ess": batch.ess,
        "log_mean_weight": batch.log_mean_weight,
        "n_candidates": len(steps),
    }
    if every:
        record["candidates"] = [
            {"text": step.text, "token_ids": list(step.token_ids), **numbers(i)} for i, step in enumerate(steps)
        ]
    return record


def _at(values: Any, i: int | None) -> float | None:
    """None also for a candidate that a scan did not judge."""
    return None if values is None or i is None or i >= len(values) else float(values[i])


def scan_record(batch: Weighed, hit: bool, clip: float) -> Plain:
    """How a scan ended: candidates judged, whether the chosen one hit the envelope, how often the clip bound."""
    assert batch.log_ratios is not None
    return {"n_scored": len(batch.log_ratios), "hit": hit, "n_clipped": int((batch.log_ratios > clip).sum())}
