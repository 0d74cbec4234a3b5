"""What a step is decided from: the models, the settings, and where the run stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from gsi_node.core.choose import Chooser, KeyedChooser
from gsi_node.errors import ConfigError
from gsi_node.protocols import Reward, StepModel, name_of, thinking_of
from gsi_node.step.config import GSIConfig
from gsi_node.step.drafts import Drafts, GivenDrafts
from gsi_node.step.methods import Method
from gsi_node.types import Ids, Key, Plain, Prefix, SamplingLaw, Thinking

Part = TypeVar("Part")


@dataclass(frozen=True)
class Models:
    """The three parameters of the node; None where the method never asks that one. draft: one, or a list of several,
    each alone or with its count (step/drafts.py). encoded: the ids by vocabulary and text of steps that a model of
    another one wrote (stages.read)."""

    draft: GivenDrafts | None = None
    base: StepModel | None = None
    reward: Reward | None = None
    encoded: dict[tuple[str, str], Ids] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def drafts(self) -> Drafts:
        """`draft`, read. Raises ConfigError."""
        return Drafts.of(self.draft)

    def asked(self, method: Method) -> dict[str, StepModel | Reward | None]:
        """Those that a method asks, by role as bills name them: each of several drafts for itself ("draft/0" …)."""
        parts: dict[str, StepModel | Reward | None] = {"base": self.base, "reward": self.reward}
        parts |= zip(self.drafts.roles or ["draft"], self.drafts.models or (None,), strict=True)
        return {role: parts[role] for role in sorted(parts) if role.partition("/")[0] in method.models}

    def fingerprints(self) -> dict[str, str | list[str] | None]:
        """What a checkpoint remembers of them, by role."""
        parts = {"base": self.base, "reward": self.reward}
        others = {role: None if part is None else part.fingerprint for role, part in parts.items()}
        return {"draft": self.drafts.fingerprint(), **others}

    def language_models(self) -> list[StepModel]:
        return [*self.drafts.models, *([] if self.base is None else [self.base])]

    @cached_property
    def by_text(self) -> bool:
        """Whether draft and base have different vocabularies, so that steps travel between them as text."""
        return len({model.vocabulary for model in self.language_models()}) > 1

    def in_vocabulary(self, vocabulary: str) -> list[StepModel]:
        """Those that read a step's ids as they are."""
        return [model for model in self.language_models() if vocabulary in ("", model.vocabulary)]

    @cached_property
    def eos_ids(self) -> tuple[int, ...] | None:
        """The ids that end a response under the sampling law: those of both models together; each model's own where
        their vocabularies differ."""
        return None if self.by_text else tuple(sorted({i for m in self.language_models() for i in m.eos_ids}))

    @cached_property
    def thinking(self) -> Thinking | None:
        """How both models think, None where they do not. Raises ConfigError for two that do not think alike."""
        models = self.language_models()
        ways = [thinking_of(model) for model in models]
        if len(set(ways)) > 1:
            told = " and ".join(f"{name_of(model)} {_told(way)}" for model, way in zip(models, ways, strict=True))
            raise ConfigError(
                f"draft and base must think alike, but {told}: give both the same arguments of their chat templates "
                "(?enable_thinking=false), or take two models of one family"
            )
        return ways[0] if ways else None


@dataclass(frozen=True, slots=True)
class StepContext:
    """A run about to decide one step: its settings, the prefix x, the sampling law, the random streams.

    problem_id names the streams, and `choosers` makes one of a key and a candidate. lost: why the draft cannot be
    reached any more, and the base decides alone. falls_back: the context of the fallback, which is a method of its own
    with streams of its own.
    """

    models: Models
    config: GSIConfig
    problem_id: str
    prefix: Prefix
    law: SamplingLaw
    _: KW_ONLY
    done: Sequence[Plain] = ()
    lost: str | None = None
    falls_back: bool = False
    choosers: Callable[[Key, int], Chooser] = KeyedChooser

    @property
    def method(self) -> Method:
        rule = self.config.rule
        if not self.falls_back:
            return rule
        assert rule.fallback is not None
        return rule.fallback

    @property
    def n(self) -> int:
        """Candidates to draw."""
        if self.method.single:
            return 1
        return (self.config.n_fallback or self.config.n) if self.falls_back else self.config.n

    @property
    def draft(self) -> StepModel:
        """The only one."""
        return _asked("draft", next(iter(self.models.drafts.models), None), self.method)

    @property
    def base(self) -> StepModel:
        return _asked("base", self.models.base, self.method)

    @property
    def reward(self) -> Reward:
        return _asked("reward", self.models.reward, self.method)

    def key(self, phase: str) -> Key:
        """The stream of a phase: "draft", "order", "select" …; of a fallback "fallback", "fallback-order" …"""
        if self.falls_back:
            phase = "fallback" if phase == "draft" else f"fallback-{phase}"
        return Key(self.config.seed, self.problem_id, len(self.prefix.steps), phase)

    def chooser(self, phase: str, candidate: int = 0) -> Chooser:
        return self.choosers(self.key(phase), candidate)

    def fallback(self) -> StepContext:
        """The same step, left to the fallback."""
        return replace(self, falls_back=True)


def _told(way: Thinking | None) -> str:
    if way is None:
        return "does not think"
    return f"thinks, its block opened by {'the prompt' if way.opened else 'itself'}"


def _asked(role: str, model: Part | None, method: Method) -> Part:
    if model is None:
        raise ConfigError(f"{role}: method {method.name} needs it, got None")
    return model
