"""The exact law of one step: the production stages, run once along every path of their random choices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gsi_node.core.accept import joined_law
from gsi_node.core.choose import Chooser, KeyedChooser
from gsi_node.core.enumerate import outcomes
from gsi_node.step import decide
from gsi_node.step.calls import Stage, run
from gsi_node.step.check import check_drafts
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models, StepContext
from gsi_node.step.judging import Commit, Judging, Refuse
from gsi_node.step.methods import Method
from gsi_node.tables.models import TableModel, TokenTable
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix

_PREFIX = Prefix("")


@dataclass(frozen=True, slots=True)
class StepTables:
    """{step text: probability} of the drafts, each with its count or None, and of the base; {step text: reward}."""

    drafts: Sequence[tuple[Mapping[str, float], int | None]]
    base: Mapping[str, float]
    reward: Mapping[str, float]

    def models(self, rule: Method, choosers: Callable[[Key, int], Chooser]) -> Models:
        """Those that a method asks; of one that drafts tokens, over steps of one token each."""
        reward = TableReward(self.reward, range=(min(self.reward.values()), max(self.reward.values())))
        made = self._tokens if rule.propose == "specdec" else partial(TableModel, chooser=choosers)
        drafts = [made(table) if count is None else (made(table), count) for table, count in self.drafts]
        return Models(
            drafts if "draft" in rule.models else None, made(self.base) if "base" in rule.models else None, reward
        )

    @property
    def texts(self) -> list[str]:
        return sorted({text for table in (*(table for table, _ in self.drafts), self.base) for text in table})

    def _tokens(self, table: Mapping[str, float]) -> TokenTable:
        texts = self.texts
        return TokenTable(texts, lambda prefix, ids: [table.get(text, 0.0) for text in texts])


def exact_step_law(
    method: str,
    *,
    draft: Mapping[str, float] | Sequence[Mapping[str, float] | tuple[Mapping[str, float], int]],
    base: Mapping[str, float],
    reward: Mapping[str, float],
    config: GSIConfig | None = None,
) -> dict[str, float]:
    """{step text: probability} of the step a method commits, exactly: p·α + (1 − E_p α)·q (docs/math.md §4).

    draft, base: {step text: probability} under the sampling law (temperature is not applied again); draft may be a list
    of several, each alone or with its count. reward: {step text: reward}, any finite values. config: beta, threshold,
    delta, log_c, n and n_fallback are read; its method is replaced by `method`; the reward's range is the table's own.
    The drafting half and the fallback half are enumerated apart. Costs |steps|^n replays; for a method that scans up to
    2n · n! times as many.
    Raises ConfigError for an unknown method, or drafts that it does not take; DegenerateWeights where some batch has no
    choice and no fallback.
    """
    config = GSIConfig.model_validate({**(config.model_dump() if config else {}), "method": method})
    given = [draft] if isinstance(draft, Mapping) else draft
    tables = StepTables([one if isinstance(one, tuple) else (one, None) for one in given], base, reward)
    check_drafts(tables.models(config.rule, KeyedChooser), config)
    drafting = _half(config, tables)
    rejected = drafting.pop(None, 0.0)
    texts = tables.texts
    accepted = [drafting.get(text, 0.0) for text in texts]
    if rejected == 0.0 or config.rule.fallback is None:
        return {text: float(p) for text, p in zip(texts, accepted, strict=True)}
    replacing = _half(config, tables, falls_back=True)
    law = joined_law(accepted, [replacing.get(text, 0.0) for text in texts])
    return {text: float(p) for text, p in zip(texts, law, strict=True)}


def _half(config: GSIConfig, tables: StepTables, *, falls_back: bool = False) -> dict[str | None, float]:
    """The law of the step that the proposal commits, or the fallback; None stands for a refused batch."""

    def one_run(chooser: Chooser) -> str | None:
        def choosers(key: Key, candidate: int) -> Chooser:
            return chooser

        models, law = tables.models(config.rule, choosers), config.law()
        law = replace(law, max_step_tokens=1) if config.rule.propose == "specdec" else law
        context = StepContext(models, config, "", _PREFIX, law, falls_back=falls_back, choosers=choosers)
        judging, verdict = run(_settled(context))[0]
        return judging.steps[verdict.chosen].text if isinstance(verdict, Commit) else None

    parts: defaultdict[str | None, list[float]] = defaultdict(list)
    for text, probability in outcomes(one_run):
        parts[text].append(probability)
    return {text: math.fsum(values) for text, values in parts.items()}


def _settled(context: StepContext) -> Stage[tuple[Judging, Commit | Refuse]]:
    proposed = yield from decide.propose(context)
    assert isinstance(proposed, Judging)
    return (yield from decide.settle(context, proposed))
