"""What a model's or reward's service answers: the shapes of its bodies, as its OpenAPI document has them."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # the one that pydantic describes on Python 3.11

from gsi_node.types import Plain

Nats = float | Literal["-inf"]  # JSON has no −inf


class Probed(TypedDict):
    """Whether it answers. waiting: requests under way; not told to whoever shows no key where one is wanted."""

    status: Literal["ok"]
    waiting: NotRequired[int]


class ServedHealth(TypedDict):
    """What is served. range: a reward's; vocabulary and eos_ids: a model's. waiting: requests under way. streams:
    whether it samples as events, too."""

    wire: int
    name: str
    role: Literal["model", "reward"]
    fingerprint: str
    vocabulary: str
    eos_ids: list[int]
    prompt_date: str | None
    thinking: Plain | None
    range: list[Nats | Literal["inf"]] | None
    waiting: int
    streams: bool


class Fingerprinted(TypedDict):
    """fingerprint: of what is served."""

    fingerprint: str


class SampledStep(TypedDict):
    """A step with its log-probability, nats. beyond: tokens behind its end, which are no part of it."""

    text: str
    token_ids: list[int]
    log_prob: Nats
    finished: bool
    log_prob_error: Nats
    thought: int
    beyond: int


class SampleAnswer(Fingerprinted):
    steps: list[SampledStep]


class EndedSteps(Fingerprinted):
    """ended: steps that have ended while others are drawn, each with its place in the answer, the last event."""

    ended: list[tuple[int, SampledStep]]


class ScoreAnswer(Fingerprinted):
    """scores: of each step its log-probability and a bound on its error, nats."""

    scores: list[tuple[Nats, Nats]]


class RewardAnswer(Fingerprinted):
    rewards: list[Nats]


class EncodeAnswer(Fingerprinted):
    token_ids: list[int]


class DecodeAnswer(Fingerprinted):
    text: str
    finished: bool
    thought: int


class SupportsAnswer(Fingerprinted):
    refusal: str | None
