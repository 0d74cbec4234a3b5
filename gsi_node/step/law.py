"""The exact law of one step: the production stages, run once along every path of their random choices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from gsi_node.core.accept import joined_law
from gsi_node.core.choose import Chooser
from gsi_node.core.enumerate import outcomes
from gsi_node.step import stages
from gsi_node.step.calls import run
from gsi_node.step.config import GSIConfig
from gsi_node.step.methods import METHODS, Method
from gsi_node.step.speculate import speculate
from gsi_node.tables.models import TableModel, TokenTable
from gsi_node.tables.rewards import UNBOUNDED, TableReward
from gsi_node.types import Key, Prefix, Score

_PREFIX = Prefix("")
_KEY = Key(0, "", 0, "draft")


def exact_step_law(
    method: str,
    *,
    draft: Mapping[str, float],
    base: Mapping[str, float],
    reward: Mapping[str, float],
    config: GSIConfig | None = None,
) -> dict[str, float]:
    """{step text: probability} of the step a method commits, exactly: p·α + (1 − E_p α)·q (docs/math.md §4).

    draft, base: {step text: probability} under the sampling law (temperature is not applied again). reward: {step
    text: reward}, any finite values. config: beta, threshold, delta, log_c, n and n_fallback are read; its method is
    replaced by `method`; the reward's range is the table's own. The drafting half and the fallback half are enumerated
    apart. Costs |steps|^n replays; for a method that scans up to 2n · n! times as many.
    Raises ConfigError for an unknown method, DegenerateWeights where some batch has no choice and no fallback.
    """
    config = GSIConfig.model_validate({**(config.model_dump() if config else {}), "method": method})
    rule = METHODS[method]
    drafting = _drafting_half(rule, draft, base, reward, config)
    rejected = drafting.pop(None, 0.0)
    texts = sorted({*draft, *base})
    accepted = [drafting.get(text, 0.0) for text in texts]
    if rejected == 0.0 or rule.fallback is None:
        return {text: float(p) for text, p in zip(texts, accepted, strict=True)}
    replacing = _fallback_half(rule.fallback, base, reward, config)
    law = joined_law(accepted, [replacing.get(text, 0.0) for text in texts])
    return {text: float(p) for text, p in zip(texts, law, strict=True)}


def _drafting_half(
    rule: Method, draft: Mapping[str, float], base: Mapping[str, float], reward: Mapping[str, float], config: GSIConfig
) -> dict[str | None, float]:
    """The law of the committed step where the proposal is kept; None stands for a rejected batch."""
    rewarder, scorer = TableReward(reward, range=(min(reward.values()), max(reward.values()))), TableModel(base)

    def one_run(chooser: Chooser) -> str | None:
        n = 1 if rule.single else config.n
        law = config.law()
        if rule.propose == "specdec":
            pair = _as_tokens(draft, base)
            proposal = speculate(*pair, _PREFIX, n, law, config.gamma, lambda i: chooser)
        else:
            proposer = TableModel(draft if rule.propose == "draft" else base, chooser=lambda key, i: chooser)
            proposal = stages.draft(proposer, rule.propose, _PREFIX, n, _KEY, law)
        steps = stages.scan_order(rule, run(proposal)[0], chooser)
        rewards: list[float] | None = [] if rule.uses_reward else None
        scores: list[Score] | None = [] if rule.uses_ratio else None
        found: stages.Decision | None = None
        judged = 0
        while found is None:
            new = stages.next_chunk(rule, n, judged, config)
            judged = new.stop
            if rewards is not None:
                rewards += run(stages.reward(rewarder, _PREFIX, steps[new.start : new.stop]))[0]
            if scores is not None:
                scores += run(stages.score(scorer, _PREFIX, steps[new.start : new.stop], law))[0]
            batch = stages.tilt(rule, steps[:judged], rewards, scores, config)
            found = stages.decide(rule, batch, new, n, rewarder, lambda phase, i: chooser, config)
        return steps[found.chosen].text if found.chosen is not None and found.accepted else None

    return _sums(outcomes(one_run))


def _as_tokens(draft: Mapping[str, float], base: Mapping[str, float]) -> tuple[TokenTable, TokenTable]:
    """The same laws over steps of one token each, which ends the step."""
    texts = sorted({*draft, *base})

    def model(table: Mapping[str, float]) -> TokenTable:
        one_token = TokenTable(texts, lambda prefix, ids: [table.get(text, 0.0) for text in texts])
        one_token.stop_ids = tuple(range(len(texts)))
        return one_token

    return model(draft), model(base)


def _fallback_half(
    rule: Method, base: Mapping[str, float], reward: Mapping[str, float], config: GSIConfig
) -> dict[str | None, float]:
    """The law of the step that replaces a rejected batch."""
    rewarder = TableReward(reward, range=UNBOUNDED)

    def one_run(chooser: Chooser) -> str | None:
        model = TableModel(base, chooser=lambda key, i: chooser)
        n = config.n_fallback or config.n
        stage = stages.fallback(rule, model, rewarder, _PREFIX, n, _KEY, config.law(), chooser, config)
        replacement, _ = run(stage)
        return replacement.steps[replacement.chosen].text

    return _sums(outcomes(one_run))


def _sums(weighted: Iterable[tuple[str | None, float]]) -> dict[str | None, float]:
    parts: defaultdict[str | None, list[float]] = defaultdict(list)
    for text, probability in weighted:
        parts[text].append(probability)
    return {text: math.fsum(values) for text, values in parts.items()}
