"""What may be asked of the service: every field typed and bounded, no field unknown, no number that is none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step, Turn

# fail_fast: a list of a million wrong items is one error, not a million.
Id = Annotated[int, Field(ge=0, lt=1 << 31)]
BoundedIds = Annotated[tuple[Id, ...], Field(max_length=1 << 14, fail_fast=True)]


MAX_CANDIDATES = 256  # of a step, whoever asks


class Body(BaseModel):
    """strict: a number in quotes or a true is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StepBody(Body):
    """A step without its numbers."""

    text: Annotated[str, Field(max_length=1 << 16)]
    token_ids: BoundedIds
    finished: bool
    thought: Annotated[int, Field(ge=0, le=1 << 16)] = 0

    def step(self) -> Step:
        return Step(self.text, self.token_ids, 0.0, self.finished, thought=self.thought)


Steps = Annotated[tuple[StepBody, ...], Field(max_length=256, fail_fast=True)]


Text = Annotated[str, Field(max_length=1 << 18)]


class TurnBody(Body):
    role: Literal["system", "user", "assistant"]
    content: Text


class PrefixBody(Body):
    problem: Text
    steps: Annotated[tuple[StepBody, ...], Field(max_length=4096, fail_fast=True)]
    earlier: Annotated[tuple[TurnBody, ...], Field(max_length=4096, fail_fast=True)] = ()

    def prefix(self) -> Prefix:
        earlier = tuple(Turn(turn.role, turn.content) for turn in self.earlier)
        return Prefix(self.problem, tuple(step.step() for step in self.steps), earlier)


class EndsBody(Body):
    strings: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=8)]
    after_text: bool

    def ends(self) -> Ends:
        return Ends(self.strings, self.after_text)


class LawBody(Body):
    temperature: Annotated[float, Field(gt=0, le=100)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_step_tokens: Annotated[int, Field(ge=1, le=1 << 14)]
    ends: EndsBody
    eos_ids: Annotated[tuple[Id, ...], Field(max_length=1 << 10, fail_fast=True)] | None

    def law(self) -> SamplingLaw:
        return SamplingLaw(self.temperature, self.top_p, self.max_step_tokens, self.ends.ends(), self.eos_ids)


class KeyBody(Body):
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]  # as GSIConfig has it
    problem_id: Annotated[str, Field(max_length=4096)]
    step: Annotated[int, Field(ge=0, lt=1 << 31)]
    phase: Annotated[str, Field(max_length=256)]

    def key(self) -> Key:
        return Key(self.seed, self.problem_id, self.step, self.phase)


class SampleBody(Body):
    """stream: as events, which tell of steps as they end."""

    prefix: PrefixBody
    n: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)]
    key: KeyBody
    law: LawBody
    stream: bool = False


class ScoreBody(Body):
    prefix: PrefixBody
    steps: Steps
    law: LawBody


class RewardBody(Body):
    prefix: PrefixBody
    steps: Steps


class EncodeBody(Body):
    text: Text


class DecodeBody(Body):
    prefix: PrefixBody
    token_ids: Annotated[BoundedIds, Field(min_length=1)]


class SupportsBody(Body):
    law: LawBody
