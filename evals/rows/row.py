"""A row: one problem solved once, by one method with one n and seed. Frozen values, whose JSON evals/rows/lines.py
alone knows."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from evals.rows.shapes import STRICT, Count, Number, Place, Whole
from gsi_node.answer import visible

RowKey = tuple[str, str, int, int]
Standing = Literal["error", "ungraded", "graded"]
STANDINGS: tuple[Standing, ...] = ("error", "ungraded", "graded")
"""Of two rows with one key the one further right counts; of equals the later."""


class _Value(BaseModel):
    """A frozen value, strictly typed."""

    model_config = STRICT | ConfigDict(frozen=True)


class _OpenValue(_Value):
    """The same; fields that it does not name are kept as they are, and written again."""

    model_config = ConfigDict(extra="allow")


class RowError(_Value):
    """Why a row has no response. traceback: for errors that are not this package's own."""

    type: str
    message: str
    traceback: str | None = None


class RoleBill(_OpenValue):
    """What a model was asked for a row. generated_positions: None in rows of before 2026-11-30."""

    generated_tokens: Count
    scored_tokens: Count
    calls: Count
    seconds: Number
    generated_positions: Count | None = None
    discarded_tokens: Count = 0

    def __add__(self, other: RoleBill) -> RoleBill:
        fed = (self.generated_positions, other.generated_positions)
        return RoleBill(
            generated_tokens=self.generated_tokens + other.generated_tokens,
            scored_tokens=self.scored_tokens + other.scored_tokens,
            calls=self.calls + other.calls,
            seconds=self.seconds + other.seconds,
            generated_positions=None if None in fed else sum(count for count in fed if count is not None),
            discarded_tokens=self.discarded_tokens + other.discarded_tokens,
        )


class ScanRecord(_OpenValue):
    """How a method that stops early ended (expgsi)."""

    n_scored: Count
    hit: bool
    n_clipped: Count


class CandidateRecord(_OpenValue):
    """What is known of a candidate; its token ids are not kept, n_tokens says how many they were.

    source, accepted: of a step alone. draft: which of several wrote it. log_…: nats. None, or absent, where the method
    computes no such number, or it is not finite.
    """

    text: str | None = None
    source: str | None = None
    accepted: bool | None = None
    reward: Number | None = None
    log_prob_draft: Number | None = None
    log_prob_base: Number | None = None
    log_ratio: Number | None = None
    log_ratio_error: Number | None = None
    tilted_reward: Number | None = None
    draft: Count | None = None


class StepRecord(CandidateRecord):
    """What is known of a step, or of a refused draft. candidates: where they are recorded. degraded: why the base
    decided alone. thought: of the text's characters, those up to the last one that is thinking. accepted_by: "human"
    where a person let a refused draft pass."""

    source: str
    ess: Number | None = None
    log_mean_weight: Number | None = None
    n_candidates: Count | None = None
    candidates: list[CandidateRecord] | None = None
    scan: ScanRecord | None = None
    rejected: StepRecord | None = None
    degraded: str | None = None
    thought: Count | None = None
    accepted_by: str | None = None
    n_tokens: Count | None = None  # the last, as rows have been written


class Response(_Value):
    """What a solver said: the part of a row that its models decide."""

    response: str
    stop_reason: str | None
    acceptance_rate: Number | None
    steps: list[StepRecord]
    usage: dict[str, RoleBill]


class VoteRecord(_Value):
    """An answer of a majority method, and the places of the responses that gave it."""

    answer: str
    voters: list[Count]


class Row(_Value):
    """One problem solved once.

    index: place of the problem in the data set. correct: None where there is an error, or the grade is not known;
    ungraded then says why. predicted: the extracted answer; reason: why it is wrong, where more is known. steps: the
    node's records. usage: by role. flops: by role (evals/run/cost.py); a role whose model does not tell is left out.
    seconds: wall seconds of solving, grading not included; models_seconds: those in which at least one model worked
    (rows of before 2026-11-26 do not say). concurrency: problems in flight in the process, workers: processes; latency
    is claimed only where both are 1. peak_memory_bytes: of CUDA, or of the process. votes: of a majority method, most
    first. commit: of the tree that made it, as Provenance has it (rows of before 2026-11-30 do not say). shared: other
    rows' answers may have stood in for its models', so that no seconds of it are a timing.
    """

    data: str
    index: Place
    problem_id: str
    problem: str
    gold: str
    method: str
    n: Count
    seed: Whole
    temperature: Number
    correct: bool | None
    ungraded: str | None = None
    predicted: str | None
    reason: str | None
    response: str
    stop_reason: str | None
    acceptance_rate: Number | None
    steps: list[StepRecord]
    usage: dict[str, RoleBill]
    flops: dict[str, Number]
    seconds: Number
    concurrency: Count
    workers: Count
    peak_memory_bytes: Count | None
    calibration: None
    error: RowError | None
    worker: str
    commit: str | None = None
    models_seconds: Number | None = None
    votes: list[VoteRecord] | None = None
    shared: bool = False

    @property
    def key(self) -> RowKey:
        """What names a row."""
        return self.problem_id, self.method, self.n, self.seed

    @property
    def standing(self) -> Standing:
        """Whether it failed, nobody knows whether it is right, or it is right or wrong."""
        return "error" if self.error is not None else "ungraded" if self.ungraded is not None else "graded"


def said(one: Response | Row) -> str:
    """What a response says behind its thinking, which alone is graded."""
    return visible((step.text or "", step.thought or 0) for step in one.steps) if _thinks(one) else one.response


def _thinks(one: Response | Row) -> bool:
    return any(step.thought for step in one.steps)
