"""Whether three models can serve a configuration, found out before the first of them is asked for a step."""

from __future__ import annotations

import math
import warnings
from typing import cast

from gsi_node.bases import require_model, require_reward
from gsi_node.errors import ConfigError, LawMismatch, VocabularyMismatch
from gsi_node.protocols import StepModel, TokenModel, check_ratio, continues, dates_of, name_of
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.judging import log_envelope
from gsi_node.step.methods import METHODS, text_methods
from gsi_node.types import SamplingLaw


def check_models(models: Models, config: GSIConfig) -> None:
    """Raises ConfigError, LawMismatch (a model cannot work under the sampling law), VocabularyMismatch.

    Warns of a draft and a base whose prompts tell different days.
    """
    rule = config.rule
    asked = models.asked(rule)
    for role, part in asked.items():
        if part is None:
            raise ConfigError(f"{role}: method {config.method} needs it, got None")
        if role == "reward":
            require_reward(role, part)
        else:
            require_model(role, part, score=rule.uses_score and (role == "base" or rule.uses_ratio))
    if rule.scans and not math.isfinite(log_envelope(rule, models.reward, config)):
        found = None if models.reward is None else models.reward.range
        raise ConfigError(
            f"reward: method {config.method} needs a known upper bound, but its range is {found}; "
            "declare a finite maximum, or use gsi"
        )
    check_drafts(models, config)
    if rule.propose == "specdec":
        _check_tokens(models, config)
    check_thinking(models, config)
    law = config.law(eos_ids=models.eos_ids, thinks=models.thinking is not None)
    speaking = [(role, cast("StepModel", part)) for role, part in asked.items() if role != "reward"]
    for role, model in speaking:
        model.supports(law)
        if rule.uses_score and (rule.uses_ratio or role == "base"):
            _check_ratio(model, law)  # a server may sample what it cannot score
        if config.max_steps > 1 and not continues(model):
            raise ConfigError(
                f"{name_of(model)} answers whole, and cannot go on from a step: set max_steps to 1, which is "
                f"{config.max_steps}, or have it continue (?prefill=continue_final_message, ?prefill=prefix)"
            )
    if not rule.by_text and len({model.vocabulary for _, model in speaking}) > 1:
        raise VocabularyMismatch(
            f"draft and base have different vocabularies ({' and '.join(model.vocabulary for _, model in speaking)}): "
            f"for method {config.method} they must share one token map; take two models of one family, or a method "
            f"between whose models only text passes: {text_methods()}"
        )
    for told in dates_of([model for role, model in speaking if role != "base"], asked.get("base")):
        warnings.warn(told, stacklevel=3)


def check_drafts(models: Models, config: GSIConfig) -> None:
    """ConfigError for several drafts that a method does not take, for fewer candidates than drafts, and for one draft
    that is given twice without counts."""
    drafts, rule = models.drafts, config.rule
    if not drafts.several or "draft" not in rule.models:
        return
    if not rule.uses_ratio:
        able = ", ".join(name for name, method in METHODS.items() if method.uses_ratio)
        raise ConfigError(
            f"draft: method {config.method} has no ratio to weigh {len(drafts.models)} drafts by; give it one, or take "
            f"a method with one ({able})"
        )
    drafts.counts(config.n)
    alone: dict[str, int] = {}
    for j, (model, weight) in enumerate(zip(drafts.models, drafts.weights, strict=True)):
        i = alone.setdefault(model.fingerprint, j)
        if i != j and None in (weight, drafts.weights[i]):
            raise ConfigError(
                f"draft: {i} and {j} are one model, {name_of(model)}; leave one out, or give each its count "
                "([(A, 3), (A, 1)], --draft A*3 --draft A*1)"
            )


def _check_ratio(model: object, law: SamplingLaw) -> None:
    try:
        check_ratio(model, law)
    except LawMismatch as error:
        raise LawMismatch(f"{error}. Methods that ask for no log-probabilities: {text_methods()}") from error


def check_thinking(models: Models, config: GSIConfig) -> None:
    """ConfigError for models that do not think alike, and for a bound on thinking where they do not think."""
    if models.thinking is None and config.max_thinking_tokens is not None:
        raise ConfigError(
            f"max_thinking_tokens: {' and '.join(map(name_of, models.language_models()))} do not think (no token such "
            "as <think>, or a chat template that closes the block in the prompt); leave it out"
        )


def _check_tokens(models: Models, config: GSIConfig) -> None:
    for role in ("draft", "base"):
        if not isinstance(getattr(models, role), TokenModel):
            raise ConfigError(
                f"{role}: method {config.method} needs whole next-token laws, which only models in process give "
                f"(hf:…, pocket:…), got {type(getattr(models, role)).__name__}; others do without: {text_methods()}"
            )
