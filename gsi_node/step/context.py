"""What a node needs to know before it works: the models, and where the run stands."""

from __future__ import annotations

from dataclasses import dataclass

from gsi_node.core.choose import KeyedChooser
from gsi_node.protocols import Reward, StepModel
from gsi_node.step.config import GSIConfig
from gsi_node.types import Key, Prefix, SamplingLaw


@dataclass(frozen=True, slots=True)
class Models:
    """The three parameters of the node; None where the method never asks that one."""

    draft: StepModel | None
    base: StepModel | None
    reward: Reward | None

    def fingerprints(self) -> dict[str, str | None]:
        """What a checkpoint remembers of them, by role."""
        parts = {"draft": self.draft, "base": self.base, "reward": self.reward}
        return {role: None if part is None else part.fingerprint for role, part in parts.items()}

    def language_models(self) -> list[StepModel]:
        return [model for model in (self.draft, self.base) if model is not None]

    def stop_ids(self) -> tuple[int, ...]:
        """The step ends of the sampling law: those of both models together."""
        return tuple(sorted({i for model in self.language_models() for i in model.stop_ids}))


@dataclass(frozen=True, slots=True)
class Moment:
    """A run about to decide one step: its settings, the prefix x, the sampling law, the random streams."""

    config: GSIConfig
    problem_id: str
    prefix: Prefix
    law: SamplingLaw

    def key(self, phase: str) -> Key:
        return Key(self.config.seed, self.problem_id, len(self.prefix.steps), phase)

    def chooser(self, phase: str, candidate: int = 0) -> KeyedChooser:
        return KeyedChooser(self.key(phase), candidate)
