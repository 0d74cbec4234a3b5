"""A whole response without LangGraph: the same steps, records and stop reasons as the graph's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gsi_node.answer import last_boxed
from gsi_node.step.calls import Bill, Stage, arun, run
from gsi_node.step.check import check_models
from gsi_node.step.config import DEFAULT, GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.decide import deciding
from gsi_node.step.guesses import drop_guesses, guessing
from gsi_node.step.problem import read_asked, read_initial_steps, read_problem_id
from gsi_node.step.records import acceptance_rate, answering, lost_draft, next_context, response, standing
from gsi_node.types import Plain, Prefix, Turn, Usage

InitialSteps = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A response: the fields are those of the graph's output, described in docs/node.md."""

    response: str
    answer: str | None
    steps: list[Plain]
    stop_reason: str
    usage: Bill
    acceptance_rate: float | None
    degraded: str | None


def solve(
    problem: str,
    models: Models,
    config: GSIConfig = DEFAULT,
    *,
    earlier: Sequence[Turn] = (),
    problem_id: str | int | None = None,
    initial_steps: InitialSteps | None = None,
) -> Solution:
    """Steps until the response ends or a budget is spent. earlier: the turns of the conversation before the problem.
    problem_id, initial_steps: as in GSIInput. Raises GSIError."""
    asked = read_asked(problem, earlier, config)
    with guessing(config.guesses):
        return _solution(models, config, *run(_solving(asked, models, config, problem_id, initial_steps)))


async def asolve(
    problem: str,
    models: Models,
    config: GSIConfig = DEFAULT,
    *,
    earlier: Sequence[Turn] = (),
    problem_id: str | int | None = None,
    initial_steps: InitialSteps | None = None,
) -> Solution:
    """The same, with the models awaited."""
    asked = read_asked(problem, earlier, config)
    with guessing(config.guesses):
        return _solution(models, config, *await arun(_solving(asked, models, config, problem_id, initial_steps)))


def _solving(
    asked: Prefix, models: Models, config: GSIConfig, problem_id: str | int | None, initial_steps: InitialSteps | None
) -> Stage[tuple[list[Plain], str]]:
    check_models(models, config)
    name = read_problem_id(problem_id, asked)
    records, finished = read_initial_steps(initial_steps, models.language_models(), config.law().ends)
    while True:
        given, reason = standing(models, config, records, finished)
        records = [*records, *given]
        if reason is not None:
            drop_guesses()
            return records, reason
        decision = yield from deciding(next_context(models, config, asked, name, records))
        records, finished = [*records, decision.record], decision.step.finished


def _solution(models: Models, config: GSIConfig, run_: tuple[list[Plain], str], bill: Bill) -> Solution:
    records, reason = run_
    whole = response(records)
    usage = {role: bill.get(role, Usage()) for role in models.asked(config.rule)}
    return Solution(
        response=whole,
        answer=last_boxed(answering(records)),
        steps=records,
        stop_reason=reason,
        usage=usage,
        acceptance_rate=acceptance_rate(records),
        degraded=lost_draft(records),
    )
