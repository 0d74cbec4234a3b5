"""What the solver's endpoint answers: OpenAI's shapes, with the run's numbers under `gsi`."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # the one that pydantic describes on Python 3.11

from gsi_node.types import Plain


class ModelAbout(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[ModelAbout]


class TokenUsage(TypedDict):
    """prompt_tokens: scored; completion_tokens: generated, all candidates; of all models together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ModelBill(TypedDict):
    """seconds: wall seconds of its calls. discarded_tokens: drawn for guesses that proved wrong."""

    generated_tokens: int
    scored_tokens: int
    calls: int
    seconds: float
    generated_positions: int
    discarded_tokens: int


class RunSummary(TypedDict):
    """usage: by role. degraded: why the base alone decided the last steps, or null."""

    answer: str | None
    acceptance_rate: float | None
    stop_reason: Literal["eos", "answer", "max_tokens", "max_steps", "stop"]
    degraded: str | None
    usage: dict[str, ModelBill]


class StepNumbers(TypedDict):
    """Nats; null where the method computes no such number, and for the infinities. draft: which of several wrote it."""

    text: str | None
    reward: float | None
    log_prob_draft: float | None
    log_prob_base: float | None
    log_ratio: float | None
    log_ratio_error: float | None
    tilted_reward: float | None
    draft: NotRequired[int]


class StepNumbersOfRun(StepNumbers):
    """A step's record. rejected: the refused draft's. candidates: with record="candidates"."""

    source: Literal["draft", "base", "specdec", "given"]
    accepted: bool | None
    ess: float | None
    log_mean_weight: float | None
    n_candidates: int
    thought: NotRequired[int]
    degraded: NotRequired[str]
    rejected: NotRequired[Plain]
    scan: NotRequired[Plain]
    candidates: NotRequired[list[StepNumbers]]


class StepOfRun(StepNumbersOfRun):
    """index: its place in the run."""

    problem_id: str
    index: int


class WholeRun(RunSummary):
    steps: list[StepNumbersOfRun]


class SaidMessage(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(TypedDict):
    index: int
    message: SaidMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]
    gsi: WholeRun


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage


class ChunkDelta(TypedDict):
    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]


class ChunkChoice(TypedDict):
    """gsi: of a step its numbers; of the last chunk, which says why it ended, those of the run."""

    index: int
    delta: ChunkDelta
    logprobs: None
    finish_reason: Literal["stop", "length"] | None
    gsi: NotRequired[StepOfRun | RunSummary]


class ChatChunk(TypedDict):
    """The data of an event; the last event's is [DONE]. usage: with `stream_options.include_usage`, in a chunk of its
    own without choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[TokenUsage]
