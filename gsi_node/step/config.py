"""The settings of a run, validated without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from pydantic import field_serializer, field_validator, model_validator

from gsi_node.step.endings import StepEndRule, read_rule, step_ends
from gsi_node.step.fields import Settings, about
from gsi_node.step.methods import METHODS, Method
from gsi_node.types import SamplingLaw


class GSIConfig(Settings):
    """Settings of Guided Speculative Inference (arXiv 2506.04118, §5: β = 20, u = 0.5, T = 0.7, top_p = 1).

    Each field says what it is in step/fields.py, as `--help` does. method: a name of `METHODS`. threshold and delta are
    in the units of the reward, log_c, log_ratio_clip and max_log_ratio_error in nats.
    """

    @field_validator("step_end", mode="before")
    @classmethod
    def _read_step_end(cls, value: object) -> StepEndRule | None:
        return None if value is None else read_rule(value)

    @field_serializer("step_end")
    def _plain_step_end(self, value: str | tuple[str, ...] | list[str] | None) -> str | list[str] | None:
        return list(value) if isinstance(value, tuple) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method not in METHODS:
            raise ValueError(f"method: unknown {self.method!r}; known: {', '.join(METHODS)}")
        if self.step_end is not None and (step_ends(self.resolved_step_end)[1] or 0) > self.max_step_tokens:
            raise ValueError(
                f"step_end: {self.step_end} goes beyond max_step_tokens, {self.max_step_tokens}; lower it or raise that"
            )
        if self.allow_degraded and METHODS[self.method].fallback is None:
            raise ValueError(
                f"allow_degraded: method {self.method} has no fallback that the base could decide its steps by; set it "
                "to false, or take a method with one (gsi, rsd …)"
            )
        if self.rule.uses_ratio and self.rule.uses_reward and self.beta <= 0.0:
            raise ValueError(f"beta: must be > 0 for method {self.method}, whose r̃ = r + ℓ/β needs it")
        if self.rule.uses_score and self.top_p < 1.0:
            raise ValueError(
                f"top_p: must be 1 for method {self.method}, got {self.top_p}: a nucleus lets either model make steps "
                "that the other cannot, so the ratio π_B/π_S has no bound, and log π_B is -inf of some drafts"
            )
        return self

    @property
    def rule(self) -> Method:
        """The method as a value."""
        return METHODS[self.method]

    @property
    def resolved_step_end(self) -> StepEndRule:
        """Where a step ends: step_end, or the method's own where it is not set, which `law` cuts at max_step_tokens."""
        return self.rule.step_end if self.step_end is None else read_rule(self.step_end)

    @property
    def guesses(self) -> int | None:
        """How many are held at a time (step/guesses.py); None where a run begins nothing before it asks for it."""
        return self.lookahead if self.lookahead or self.judge_early else None

    def identity(self) -> dict[str, Any]:
        """The settings that a run goes on under, and no others."""
        return self.model_dump(exclude={name for name in type(self).model_fields if not about(name).told})

    def law(
        self,
        *,
        tokens_so_far: int = 0,
        eos_ids: tuple[int, ...] | None = None,
        thinks: bool = False,
        thought: int | None = None,
    ) -> SamplingLaw:
        """The sampling law of the next step: a step is also cut where the response would exceed max_tokens.

        thinks: of models that think no step is blank. thought: tokens of thinking so far, where it goes on: a step is
        also cut where it would exceed max_thinking_tokens.
        """
        ends, most = step_ends(self.resolved_step_end)
        bounds = [most or self.max_step_tokens, self.max_step_tokens, self.max_tokens - tokens_so_far]
        if thought is not None and self.max_thinking_tokens is not None:
            bounds.append(self.max_thinking_tokens - thought)
        ends = replace(ends, after_text=ends.after_text or thinks)
        return SamplingLaw(self.temperature, self.top_p, max(1, min(bounds)), ends, eos_ids)


DEFAULT = GSIConfig()


def completed(stored: Mapping[str, Any], here: GSIConfig) -> dict[str, Any]:
    """A run's configuration as it is compared with that of here: fields that an earlier version did not know have their
    defaults, and `earlier_messages` is no matter any more, since the run has read its input."""
    return {**DEFAULT.identity(), **stored, "earlier_messages": here.earlier_messages}
