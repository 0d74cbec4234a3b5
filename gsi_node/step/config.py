"""The settings of a run, validated without any I/O. The defaults are the settings of arXiv 2506.04118."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gsi_node.step.methods import METHODS, Method
from gsi_node.types import SamplingLaw

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class GSIConfig(BaseModel):
    """Settings of Guided Speculative Inference (arXiv 2506.04118, §5: β = 20, u = 0.5, T = 0.7, top_p = 1).

    method: a name of `methods.METHODS`. n, n_fallback: candidates a step of the proposal and of the fallback (None: n).
    beta: inverse temperature of the tilt. threshold: u, in the units of the reward. delta: the threshold on the reward
    for rsd and rsd-n. log_c: log of gsi-ic's constant in nats (None: beta · threshold). log_ratio_clip: nats, expgsi's
    r̃ = r + min(ℓ, log_ratio_clip) / β (the default is for the shipped models, see `python -m gsi_node.tools.bench
    --clip 50`; calibrate_log_ratio_clip finds the 95th percentile of ℓ on any). chunk_size: candidates that
    expgsi judges at once. gamma: tokens that specdec drafts a verification. temperature, top_p: the sampling law of
    both models. max_steps: steps; max_step_tokens, max_tokens: tokens a step and a response. record: "candidates" keeps
    every candidate in the step records. max_log_ratio_error: nats; a run stops where the certified bound on a
    candidate's log-ratio is larger (model servers only: in process the bound is 0).
    allow_degraded: where the draft cannot be reached any more, the base decides the rest of the run alone, by the
    method's fallback, and the result says so; otherwise such a run ends in BackendUnavailable.
    earlier_messages: "refuse" an input whose messages hold more than the last human one; it alone reaches models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    method: str = "gsi"
    n: Count = 16
    n_fallback: Count | None = None
    beta: Annotated[Finite, Field(ge=0)] = 20.0
    threshold: Finite = 0.5
    delta: Finite = 0.7
    log_c: Finite | None = None
    log_ratio_clip: Finite = 0.5
    chunk_size: Count = 4
    gamma: Count = 4
    temperature: Annotated[Finite, Field(gt=0)] = 0.7
    top_p: Annotated[Finite, Field(gt=0, le=1)] = 1.0
    max_steps: Count = 64
    max_step_tokens: Count = 512
    max_tokens: Count = 4096
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    record: Literal["summary", "candidates"] = "summary"
    max_log_ratio_error: Annotated[Finite, Field(ge=0)] = 0.5
    allow_degraded: bool = False
    earlier_messages: Literal["ignore", "refuse"] = "ignore"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method not in METHODS:
            raise ValueError(f"method: unknown {self.method!r}; known: {', '.join(METHODS)}")
        if self.allow_degraded and METHODS[self.method].fallback is None:
            raise ValueError(
                f"allow_degraded: method {self.method} has no fallback that the base could decide its steps by; set it "
                "to false, or take a method with one (gsi, rsd …)"
            )
        if METHODS[self.method].uses_ratio:
            if self.beta <= 0.0:
                raise ValueError(f"beta: must be > 0 for method {self.method}, whose r̃ = r + ℓ/β needs it")
            if self.top_p < 1.0:
                raise ValueError(
                    f"top_p: must be 1 for method {self.method}, got {self.top_p}: a nucleus lets the base make steps "
                    "that the draft cannot, so the ratio π_B/π_S has no bound"
                )
        return self

    @property
    def rule(self) -> Method:
        """The method as a value."""
        return METHODS[self.method]

    @property
    def resolved_log_c(self) -> float:
        """log c of gsi-ic, in nats: log_c, or β·u where it is not set."""
        return self.beta * self.threshold if self.log_c is None else self.log_c

    def law(self, *, tokens_so_far: int = 0, stop_ids: tuple[int, ...] | None = None) -> SamplingLaw:
        """The sampling law of the next step: a step is also cut where the response would exceed max_tokens."""
        room = max(1, self.max_tokens - tokens_so_far)
        return SamplingLaw(self.temperature, self.top_p, min(self.max_step_tokens, room), stop_ids)


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that an earlier version wrote: fields that it did not know have their defaults."""
    return {**GSIConfig().model_dump(), **stored}
