"""The responses to learn from: every problem, by every solver, several times, with the project's own engine; graded.

Each solver's are a run folder of `evals run`, so they go on after a kill, and `evals report` reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.data.problems import Problem
from evals.rows.row import Row
from evals.run.config import FieldValue, read_config
from evals.run.execute import execute
from evals.run.how import How
from evals.run.plan import Plan
from evals.train_reward.recipe import Recipe
from evals.train_reward.templates import SplitProblems
from gsi_node.errors import ConfigError

FINISHED = ("eos", "answer")
RATIOS = "draft-with-ratios"
"""The folder of the draft's responses to the problems to calibrate on, with log π_base − log π_draft of every step."""
WITH_RATIOS = "cgs"
"""The method that writes these: it needs the ratio and no reward, and of one candidate it chooses that one."""
GIVEN: dict[str, FieldValue] = {"step_end": "paragraph"}
"""Also under the method above, whose own steps are of 16 tokens."""
ResponseKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """A graded response. steps: the texts of those with something in them, as they were written, the thinking of a
    model that thinks left out. The others as in Judged."""

    problem: Problem
    template: str
    solver: str
    sample: int
    steps: tuple[str, ...]
    correct: bool
    finished: bool
    answer: str | None
    log_ratios: tuple[float, ...] | None

    @property
    def key(self) -> ResponseKey:
        """What names it."""
        return self.problem.id, self.solver, self.sample


def samples(
    recipe: Recipe, given: SplitProblems, folder: Path, how: How
) -> tuple[list[Sample], dict[str, int], dict[str, str]]:
    """All there are, how many were left out by why, and the fingerprints of the solvers by name.

    Raises what `execute` raises, and ConfigError where none is left.
    """
    found: list[Sample] = []
    left_out: Counter[str] = Counter()
    prints: dict[str, str] = {}
    draft = next(iter(recipe.by_name))
    for solver, name, plan in _plans(recipe, given):
        rows = execute(plan, folder / name, how)
        by_id = {problem.id: problem for problem in plan.problems}
        for row in rows:
            if row.standing != "graded":
                left_out[row.standing] += 1
            elif (one := _sample(by_id[row.problem_id], given.template[row.problem_id], solver, row)).steps:
                found.append(one)
            else:
                left_out["empty"] += 1
        prints[solver] = read_config(folder / name).fingerprints["draft" if solver == draft else "base"]
    if not found:
        raise ConfigError(f"no response is left to learn from ({dict(left_out)}); the rows in {folder} say why")
    return sorted(found, key=lambda one: one.key), dict(left_out), prints


def _plans(recipe: Recipe, given: SplitProblems) -> Iterator[tuple[str, str, Plan]]:
    """Solver, folder and plan of each run."""
    draft, *others = recipe.by_name
    rest: Sequence[Problem] = given.problems
    if recipe.ratios:
        rest = given.within("fit", "gate")
        both = {"draft": draft, "base": others[-1]}
        yield draft, RATIOS, _plan(recipe, given.within("calibrate"), WITH_RATIOS, both)
    yield draft, "draft", _plan(recipe, rest, "draft", {"draft": draft})
    for place, name in enumerate(others):
        yield name, f"base-{place}", _plan(recipe, given.problems, "base", {"base": name})


def _plan(recipe: Recipe, problems: Sequence[Problem], method: str, names: Mapping[str, str]) -> Plan:
    """names: of solvers, by role."""
    return Plan(
        data=" + ".join(recipe.data),
        problems=tuple(problems),
        methods=(method,),
        ns=(1,),
        seeds=tuple(range(recipe.samples)),
        specs={role: recipe.by_name[name] for role, name in names.items()},
        fields=GIVEN | recipe.fields,
        record="summary",
    )


def _sample(problem: Problem, template: str, solver: str, row: Row) -> Sample:
    said = [(step, (step.text or "")[step.thought or 0 :]) for step in row.steps]
    kept = [(step, text) for step, text in said if text.strip()]
    ratios = tuple(step.log_ratio for step, _ in kept if step.log_ratio is not None)
    return Sample(
        problem=problem,
        template=template,
        solver=solver,
        sample=row.seed,
        steps=tuple(text for _, text in kept),
        correct=row.correct is True,
        finished=row.stop_reason in FINISHED,
        answer=row.predicted,
        log_ratios=ratios if len(ratios) == len(kept) else None,
    )
