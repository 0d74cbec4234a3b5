"""Whether a problem can be solved and graded at all: found when it is read, before its models are paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from evals.data.datasets import load
from evals.data.problems import Problem
from evals.graders import notation, pocket
from evals.graders.grading import MAX_CHARACTERS
from evals.rows.shapes import first_fault
from gsi_node.errors import ConfigError

Tolerance = Annotated[float, Field(ge=0, le=1e100)]


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Meta(TypedDict, total=False):
    """What the graders of mathematics read of a problem's meta (evals/graders/rules.py)."""

    rel_tol: Tolerance | None
    abs_tol: Tolerance | None
    unit: str | None
    several: bool
    type: str | None


_META = TypeAdapter(Meta)
_CHECKED = ("math", "olympiad", "exact")


def load_gradable(
    name: str, *, data_dir: Path | None = None, size: int | None = None, seed: int = 0, split: str = "test"
) -> list[Problem]:
    """`evals.data.datasets.load`; raises ConfigError for a problem that `check` refuses, too."""
    return load(name, data_dir=data_dir, size=size, seed=seed, split=split, check=check)


def check(problem: Problem) -> None:
    """Raise ConfigError where no response could be right, the grader could not read the meta, or no model the text."""
    for what, text in (("id", problem.id), ("problem", problem.problem), ("answer", problem.answer)):
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise ConfigError(f"the {what} holds a lone surrogate (\\ud800 to \\udfff), which is no letter")
    if notation.unprintable(problem.id):
        raise ConfigError("the id holds control characters")
    if len(problem.answer) > MAX_CHARACTERS:
        raise ConfigError(f"the answer has {len(problem.answer)} characters, and none beyond {MAX_CHARACTERS} is read")
    if notation.unprintable(problem.answer):
        raise ConfigError("the answer holds control characters, which no response is graded with")
    if problem.kind in _CHECKED:
        _check_meta({name: value for name, value in problem.meta.items() if name != "family"})
    if problem.kind == "exact" and not pocket.equal(problem.answer, problem.answer)[0]:
        raise ConfigError(f"an exact answer is an integer or a fraction such as 3/4, but it is {problem.answer[:60]!r}")


def _check_meta(meta: dict[str, object]) -> None:
    try:
        _META.validate_python(meta)
    except ValidationError as error:
        known = ", ".join(Meta.__annotations__)
        raise ConfigError(f"meta.{first_fault(error)} (meta may hold {known})") from error
