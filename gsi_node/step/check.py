"""Whether three models can serve a configuration, found out before the first of them is asked for a step."""

from __future__ import annotations

import math
import warnings

from gsi_node.bases import require_model, require_reward
from gsi_node.errors import ConfigError, VocabularyMismatch
from gsi_node.protocols import TokenModel, check_ratio, name_of, other_dates
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.judging import log_envelope


def check_models(models: Models, config: GSIConfig) -> None:
    """Raises ConfigError, LawMismatch (a model cannot work under the sampling law), VocabularyMismatch.

    Warns of a draft and a base whose prompts tell different days.
    """
    rule = config.rule
    for role in sorted(rule.models):
        model = getattr(models, role)
        if model is None:
            raise ConfigError(f"{role}: method {config.method} needs it, got None")
        if role == "reward":
            require_reward(role, model)
        else:
            require_model(role, model, score=rule.uses_score and (role == "base" or rule.uses_ratio))
    if rule.scans and not math.isfinite(log_envelope(rule, models.reward, config)):
        found = None if models.reward is None else models.reward.range
        raise ConfigError(
            f"reward: method {config.method} needs a known upper bound, but its range is {found}; "
            "declare a finite maximum, or use gsi"
        )
    if rule.propose == "specdec":
        _check_tokens(models, config)
    check_thinking(models, config)
    asked = [getattr(models, role) for role in ("draft", "base") if role in rule.models]
    for model in asked:
        law = config.law(eos_ids=models.eos_ids, thinks=models.thinking is not None)
        model.supports(law)
        if rule.uses_score and (rule.uses_ratio or model is models.base):
            check_ratio(model, law)  # a server may sample what it cannot score
    if len({model.vocabulary for model in asked}) > 1:
        raise VocabularyMismatch(
            f"draft and base have different vocabularies ({' and '.join(model.vocabulary for model in asked)}): they "
            "must share one token map; take two models of one family"
        )
    if len(asked) == 2 and (told := other_dates(*asked)) is not None:
        warnings.warn(told, stacklevel=3)


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
                f"(hf:…, pocket:…), got {type(getattr(models, role)).__name__}; use sbon-base instead"
            )
