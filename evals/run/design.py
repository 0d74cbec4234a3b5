"""design.json of a run folder: which problems of a set are solved, drawn how, and which comparisons are made of them.

`evals design` writes it, before any row; `evals run` then solves its problems alone, and `evals report` weighs them as
they were drawn (evals/report/two_phase.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.rows.shapes import STRICT, Count, Number, Whole, first_fault
from evals.run.how import How
from evals.run.plan import Plan, Task, digest
from gsi_node.errors import ConfigError

DESIGN = "design.json"


class Stratum(BaseModel):
    """Problems alike in the bank. size: how many there are; chosen: the ids of those that are solved, all or drawn at
    random without replacement."""

    model_config = STRICT | ConfigDict(frozen=True)

    name: str
    size: Count
    chosen: list[str]


class Design(BaseModel):
    """data, problems, problems_digest: of the bank's configuration. samples: rows of the bank by problem. share, seed:
    as they were given. strata: none of them empty. primary: pairs of methods, whose differences at `n` candidates are
    what the run is for."""

    model_config = STRICT | ConfigDict(frozen=True)

    data: str
    problems: Whole
    problems_digest: str
    samples: Count
    share: Number
    seed: Whole
    strata: list[Stratum]
    n: Whole
    primary: list[tuple[str, str]]

    @property
    def weights(self) -> dict[str, float]:
        """By problem, how many of its stratum it stands for."""
        return {id: one.size / len(one.chosen) for one in self.strata for id in one.chosen}

    def to_json(self) -> bytes:
        """The file, with its checksum."""
        return sealed(json.dumps({"schema": SCHEMA, **self.model_dump()}, indent=1).encode(), lines=True)

    def of(self, tasks: Sequence[Task], plan: Plan) -> list[Task]:
        """Those of the chosen problems. Raises ConfigError where the plan is over other problems than the bank."""
        if digest(plan.problems) != self.problems_digest:
            raise ConfigError(
                f"{DESIGN}: was made for other problems ({self.problems} of {self.data}); give the bank's --data, "
                "--limit, --split and --data-seed"
            )
        chosen = self.weights
        return [task for task in tasks if plan.problems[task.place].id in chosen]


def tasks_in(folder: Path, plan: Plan, how: How) -> list[Task]:
    """The plan's tasks that are to be done in a folder: of its design, where it has one. Raises ConfigError."""
    tasks, design = how.own(plan.tasks()), read_design(folder)
    return tasks if design is None else design.of(tasks, plan)


def read_design(folder: Path) -> Design | None:
    """That of a folder; None where it has none. Raises ConfigError where it is damaged, or no design."""
    file = folder / DESIGN
    if not file.exists():
        return None
    found, _ = unsealed(file.read_bytes(), str(file))
    del found["schema"]
    try:
        return Design.model_validate_json(json.dumps(found))
    except ValidationError as error:
        raise ConfigError(f"{file}: no design: {first_fault(error)}") from error
